"""Attention without a denominator that corrects what it said of its last tokens. Behrouz et al., arXiv:2505.23735."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Growth, Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.cache import store
from variorum.layers.mixers.kernels.exponential_delta import exponential_delta_parallel, exponential_delta_start
from variorum.layers.mixers.short_conv import ShortConv
from variorum.layers.norms.rmsnorm import RMSNorm


class ExponentialDelta(Mixer, Streaming):
    """o_t = sum_{i <= t} u_i E(k_i, q_t), E = exp(s (k . q - 1)): at every t the last c tokens write what is missing.

    u_i gains g (v_i - sum_j u_j E(k_j, k_i)) at t = i and at the next c - 1 tokens, c = ``window``, where u_j are those
    before t and g is one gate for each of the c, g_i = sigmoid(W_g x_i) / c. q, k, v = SiLU(shortconv(W x)), q and k of
    unit length, y = W_o rmsnorm(o). s, for each head, is learned. Behrouz et al. 2025, arXiv:2505.23735 (Dot, with a
    linear memory).
    sharpness: s at the start. window 1: the delta rule. The state grows with the row, as attention's does.
    """

    traits: Traits = Traits(causal=True, streams=True, growth=Growth.QUADRATIC, exports=False)
    examples = ({"heads": 2}, {"heads": 4, "window": 3})

    def __init__(
        self, dim: int, *, heads: int = 4, window: int = 1, conv: int = 4, sharpness: float = 8.0
    ) -> None:  # fmt: skip
        super().__init__()
        if dim % heads or window < 1 or sharpness <= 0:
            raise VariorumError("ExponentialDelta", expected="heads that divide dim, a window and a sharpness above 0",
                                found=f"dim {dim}, heads {heads}, window {window}, sharpness {sharpness}",
                                do="Choose others.")  # fmt: skip
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.conv = ShortConv(3 * dim, width=conv)
        self.gates = nn.Linear(dim, heads * window, bias=False)
        self.log_sharpness = nn.Parameter(torch.full((heads,), sharpness).log())
        self.norm = RMSNorm(dim // heads)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        def along(q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
            blank = self._blank(q.shape[0])
            return exponential_delta_parallel(q, k, v, gates, self.log_sharpness.exp(), k[:, :0], v[:, :0], blank)[0]

        return self._answer(each_row(along, layout, *self._operands(x, self.conv(self.qkv(x), layout))))

    def start(self, batch: int) -> State:
        weight = self.out.weight
        blank = weight.new_zeros(batch, 0, self.heads, weight.shape[0] // self.heads)
        length = weight.new_zeros(batch, dtype=torch.int64)
        return State(conv=self.conv.start(batch), keys=blank, written=blank.clone(), recent=self._blank(batch),
                     length=length)  # fmt: skip

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        mixed, conv = self.conv.advance(self.qkv(x), state.child("conv"), layout)

        def go_on(*rows: Any) -> tuple[Tensor, State]:
            q, k, v, gates, before = rows
            keys, written, length = (before.tensor(name) for name in ("keys", "written", "length"))
            o, gone, said, recent = exponential_delta_parallel(
                q, k, v, gates, self.log_sharpness.exp(), keys, written, before.child("recent")
            )
            slots = length[:, None] + torch.arange(gone.shape[1], device=gone.device)
            return o, State(keys=store(keys, gone, slots), written=store(written, said, slots), recent=recent,
                            length=length + gone.shape[1])  # fmt: skip

        kept = State({name: state[name] for name in ("keys", "written", "recent", "length")})
        o, kept = each_row(go_on, layout, *self._operands(x, mixed), state=kept)
        return self._answer(o), State({**kept, "conv": conv})

    def _blank(self, batch: int) -> State:
        weight = self.out.weight
        width = weight.shape[0] // self.heads
        return exponential_delta_start(weight, batch=batch, heads=self.heads, dim=width, window=self.window)

    def _operands(self, x: Tensor, mixed: Tensor) -> tuple[Tensor, ...]:
        q, k, v = F.silu(mixed).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        gates = torch.sigmoid(self.gates(x)).unflatten(-1, (self.heads, self.window)) / self.window
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, gates

    def _answer(self, o: Tensor) -> Tensor:
        return self.out(self.norm(o).flatten(-2))
