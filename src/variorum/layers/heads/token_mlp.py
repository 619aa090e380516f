"""A small network read off each token. Hollmann et al. 2022, arXiv:2207.01848."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation


class TokenMLP(Head):
    """y_t = W_2 act(W_1 x_t + b_1) + b_2: (*tokens, dim) -> (*tokens, outputs)."""

    writes = "row class"
    traits: Traits = POINTWISE
    examples = ({"outputs": 4, "hidden": 8},)

    def __init__(self, dim: int, *, outputs: int, hidden: int, activation: Activation = Activation.GELU) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, outputs)
        self.activation = activation.function

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens outputs"]:
        return self.down(self.activation(self.up(x)))
