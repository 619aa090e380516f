"""Linear attention with a gate for each channel of its state. Yang et al. 2023, arXiv:2312.06635."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.kernels.gated import gated_chunked
from variorum.layers.mixers.short_conv import ShortConv
from variorum.layers.norms.rmsnorm import RMSNorm

_TEMPERATURE = 16.0
"""The root taken of the gate, which keeps it near one at first: the paper's tau."""


class GatedLinear(Mixer, Streaming):
    """S_t = diag(a_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t; y = W_o (rmsnorm(o) * SiLU(W_r x + b_r)), rmsnorm by head.

    a_t = sigmoid(x W_1 W_2 + b)^(1/16), W_1 W_2 of rank ``rank``. Yang et al. 2023, arXiv:2312.06635, run in chunks of
    ``chunk`` tokens. keys: width of all keys together, dim / 2 unless given, as in the paper. conv: width of a short
    convolution, followed by SiLU, that makes q, k and v, as in the linear mixers that came after it (1: neither).
    The state is (keys / heads, dim / heads) for each head, whatever n.
    """

    traits: Traits = Traits(causal=True, streams=True, exports=False)
    examples = ({"heads": 2, "chunk": 4, "rank": 2},)

    def __init__(
        self, dim: int, *, heads: int = 4, keys: int | None = None, rank: int = 16, conv: int = 1, chunk: int = 32
    ) -> None:
        super().__init__()
        keys = dim // 2 if keys is None else keys
        if dim % heads or keys % heads:
            raise VariorumError("GatedLinear", expected="heads that divide dim and keys",
                                found=f"dim {dim}, keys {keys}, heads {heads}",
                                do="Choose another number of heads.")  # fmt: skip
        self.heads, self.keys, self.chunk = heads, keys, chunk
        self.qkv = nn.Linear(dim, 2 * keys + dim, bias=False)
        self.conv = ShortConv(2 * keys + dim, width=conv)
        self.forget = nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, keys))
        self.gate = nn.Linear(dim, dim)
        self.norm = RMSNorm(dim // heads)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        rows = self._project(x, self.conv(self.qkv(x), layout))
        return self._read(x, each_row(lambda *rows: gated_chunked(*rows, chunk=self.chunk)[0], layout, *rows))

    def start(self, batch: int) -> State:
        shape = (batch, self.heads, self.keys // self.heads, self.out.in_features // self.heads)
        return State(conv=self.conv.start(batch), memory=self.out.weight.new_zeros(shape))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        mixed, conv = self.conv.advance(self.qkv(x), state.child("conv"), layout)

        def go_on(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: State) -> tuple[Tensor, State]:
            o, after = gated_chunked(q, k, v, decay, state.tensor("memory"), chunk=self.chunk)
            return o, State(memory=after)

        o, after = each_row(go_on, layout, *self._project(x, mixed), state=State(memory=state["memory"]))
        return self._read(x, o), State(conv=conv, memory=after["memory"])

    def _project(self, x: Tensor, mixed: Tensor) -> tuple[Tensor, ...]:
        """q, k, v of the convolved projections and the log of a, (*tokens, heads, width of a head) each."""
        mixed = F.silu(mixed) if self.conv.width > 1 else mixed
        widths = (self.keys, self.keys, self.out.in_features)
        decay = F.logsigmoid(self.forget(x)) / _TEMPERATURE
        return tuple(t.unflatten(-1, (self.heads, -1)) for t in (*mixed.split(widths, dim=-1), decay))

    def _read(self, x: Tensor, o: Tensor) -> Tensor:
        return self.out(self.norm(o).flatten(-2) * F.silu(self.gate(x)))
