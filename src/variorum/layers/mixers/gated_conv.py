"""The convolution module of the Conformer. Gulati et al. 2020, arXiv:2005.08100, section 2.2."""

from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Norm, Spec, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.channels.activation import Activation
from variorum.layers.norms.batchnorm import BatchNorm
from variorum.layers.norms.layernorm import LayerNorm


class Looks(StrEnum):
    """Which way a convolution looks."""

    BACK = "back"
    BOTH = "both"


class GatedConv(Mixer, Streaming):
    """y = W_2 act(norm(conv(a * sigmoid(b)))), [a, b] = W_1 x, conv depthwise over ``kernel`` tokens.

    Gulati et al. 2020, arXiv:2005.08100; looking back only and with a layer norm it streams (Noroozi et al. 2023,
    arXiv:2312.17279), keeping the last kernel - 1 gated tokens. Looking both ways the kernel is odd.
    """

    examples = (
        {"kernel": 3},
        {"kernel": 4, "looks": Looks.BACK},
        {"kernel": 3, "looks": Looks.BOTH, "norm": BatchNorm.spec(), "bias": False},
    )

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 9,
        looks: Looks = Looks.BACK,
        norm: Spec[Norm] = LayerNorm.spec(),
        activation: Activation = Activation.SILU,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if kernel < 1 or (looks is Looks.BOTH and kernel % 2 == 0):
            raise VariorumError("GatedConv kernel", expected="at least 1, and odd if it looks both ways",
                                found=str(kernel), do="Choose another.")  # fmt: skip
        self.kernel, self.looks = kernel, looks
        self.gate_in = nn.Linear(dim, 2 * dim, bias=bias)
        self.conv = nn.Conv1d(dim, dim, kernel, groups=dim, bias=bias)
        self.norm = norm.build(dim=dim)
        self.activation = activation.function
        self.out = nn.Linear(dim, dim, bias=bias)

    @property
    def traits(self) -> Traits:
        """Causal and streaming if it looks back only."""
        back = self.looks is Looks.BACK
        return Traits(causal=back, streams=back).along(self.norm.traits)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        ahead = (self.kernel - 1) // 2 if self.looks is Looks.BOTH else 0
        sides = (0, 0, self.kernel - 1 - ahead, ahead)
        gated = F.glu(self.gate_in(x))
        return self._finish(each_row(lambda rows: self._conv(F.pad(rows, sides)), layout, gated))

    def start(self, batch: int) -> State:
        return State(last=self.out.weight.new_zeros(batch, self.kernel - 1, self.out.in_features))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        def go_on(rows: Tensor, state: State) -> tuple[Tensor, State]:
            seen = torch.cat([state.tensor("last").to(rows.dtype), rows], dim=1)
            return self._conv(seen), State(last=seen[:, seen.shape[1] - self.kernel + 1 :])

        y, after = each_row(go_on, layout, F.glu(self.gate_in(x)), state=state)
        return self._finish(y), after

    def _conv(self, rows: Tensor) -> Tensor:
        """(batch, kernel - 1 + n, dim) -> (batch, n, dim)."""
        return self.conv(rows.transpose(1, 2)).transpose(1, 2)

    def _finish(self, y: Tensor) -> Tensor:
        return self.out(self.activation(self.norm(y)))
