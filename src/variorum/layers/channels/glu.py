"""Gated linear units. Shazeer 2020, arXiv:2002.05202."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Channel, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation


class GLU(Channel):
    """y = W_down (act(W_gate x) * W_up x); with SiLU this is SwiGLU. Shazeer 2020, arXiv:2002.05202.

    hidden: inner width; unless given 8/3 * dim rounded up to a multiple of 8, the parameters of a plain MLP.
    dropout: on the gated inner activation and on the output. Gate and up are one fused matrix, gate first.
    """

    traits: Traits = POINTWISE

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        activation: Activation = Activation.SILU,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = hidden or -(-8 * dim // 24) * 8
        self.gate_up = nn.Linear(dim, 2 * hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)
        self.activation = activation.function
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.dropout(self.down(self.dropout(self.activation(gate) * up)))
