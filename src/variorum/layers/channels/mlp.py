"""The position-wise feed-forward network. Vaswani et al. 2017, arXiv:1706.03762, section 3.3."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Channel, Norm, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation
from variorum.layers.linear import Linear
from variorum.layers.norms.layernorm import LayerNorm


class MLP(Channel):
    """y = W_2 norm(act(W_1 x + b_1)) + b_2. Vaswani et al. 2017, arXiv:1706.03762.

    hidden: inner width, 4 * dim unless given.     dropout: on the inner activation and on the output.
    norm: none unless given; the inner norm of a sub-LayerNorm (Wang et al. 2022, arXiv:2210.06423).
    """

    traits: Traits = POINTWISE
    examples = ({}, {"norm": LayerNorm.spec()})

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        activation: Activation = Activation.GELU,
        bias: bool = True,
        norm: Spec[Norm] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = hidden or 4 * dim
        self.up = Linear(dim, hidden, bias=bias)
        self.norm = norm.build(dim=hidden) if norm else None
        self.down = Linear(hidden, dim, bias=bias)
        self.activation = activation.consuming
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        inner = self.dropout(self.activation(self.up(x)))
        return self.dropout(self.down(inner if self.norm is None else self.norm(inner)))
