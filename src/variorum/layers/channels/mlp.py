"""The position-wise feed-forward network. Vaswani et al. 2017, arXiv:1706.03762, section 3.3."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Channel, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation


class MLP(Channel):
    """y = W_2 act(W_1 x + b_1) + b_2. Vaswani et al. 2017, arXiv:1706.03762.

    hidden: inner width, 4 * dim unless given.     dropout: on the inner activation and on the output.
    """

    traits: Traits = POINTWISE

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        activation: Activation = Activation.GELU,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = hidden or 4 * dim
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)
        self.activation = activation.function
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return self.dropout(self.down(self.dropout(self.activation(self.up(x)))))
