"""Linear attention whose state forgets what it overwrites. Yang et al. 2024, arXiv:2406.06484."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.kernels.delta import delta_chunked
from variorum.layers.mixers.short_conv import ShortConv
from variorum.layers.norms.rmsnorm import RMSNorm


class Delta(Mixer, Streaming):
    """o_t = S_t q_t with S_t = S_{t-1} (I - b_t k_t k_t^T) + b_t v_t k_t^T, for each head; y = W_o rmsnorm(o).

    q, k, v = SiLU(shortconv(W x)), q and k of unit length, b_t = sigmoid(w x_t) in (0, 1). Yang et al. 2024,
    arXiv:2406.06484, run in chunks of ``chunk`` tokens. The state is (head_dim, head_dim) for each head, whatever n.
    """

    traits: Traits = Traits(causal=True, streams=True, exports=False)
    examples = ({"heads": 2, "chunk": 4},)

    def __init__(self, dim: int, *, heads: int = 4, conv: int = 4, chunk: int = 64) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("Delta", expected="heads that divide dim", found=f"dim {dim}, heads {heads}",
                                do="Choose another number of heads.")  # fmt: skip
        self.heads, self.chunk = heads, chunk
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.conv = ShortConv(3 * dim, width=conv)
        self.beta = nn.Linear(dim, heads, bias=False)
        self.norm = RMSNorm(dim // heads)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        q, k, v, beta = self._project(x, self.conv(self.qkv(x), layout))
        o = each_row(lambda *rows: delta_chunked(*rows, chunk=self.chunk)[0], layout, q, k, v, beta)
        return self.out(self.norm(o).flatten(-2))

    def start(self, batch: int) -> State:
        size = self.qkv.in_features // self.heads
        return State(conv=self.conv.start(batch), memory=self.out.weight.new_zeros(batch, self.heads, size, size))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        mixed, conv = self.conv.advance(self.qkv(x), state.child("conv"), layout)

        def go_on(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: State) -> tuple[Tensor, State]:
            o, after = delta_chunked(q, k, v, beta, state.tensor("memory"), chunk=self.chunk)
            return o, State(memory=after)

        o, after = each_row(go_on, layout, *self._project(x, mixed), state=State(memory=state["memory"]))
        return self.out(self.norm(o).flatten(-2)), State(conv=conv, memory=after["memory"])

    def _project(self, x: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k, v (*tokens, heads, head_dim) of the convolved projections, and beta (*tokens, heads)."""
        q, k, v = F.silu(mixed).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, torch.sigmoid(self.beta(x))
