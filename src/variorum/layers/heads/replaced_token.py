"""Which tokens are not the original ones. Clark et al. 2020, arXiv:2003.10555."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation


class ReplacedToken(Head):
    """logit_t = w act(W x_t + b) + c, positive for "replaced": (*tokens, dim) -> (*tokens).

    Clark et al. 2020, arXiv:2003.10555: the discriminator's head.
    """

    writes = "token value"
    traits: Traits = POINTWISE

    def __init__(self, dim: int, *, activation: Activation = Activation.GELU) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)
        self.activation = activation.function
        self.linear = nn.Linear(dim, 1)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens"]:
        return self.linear(self.activation(self.transform(x))).squeeze(-1)
