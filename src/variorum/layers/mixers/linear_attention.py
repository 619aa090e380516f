"""Linear attention: a kernel in the place of the softmax. Katharopoulos et al. 2020, arXiv:2006.16236."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from variorum.core import Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.kernels.linear import linear_chunked
from variorum.layers.mixers.short_conv import ShortConv


class LinearAttention(Mixer, Streaming):
    """o_t = S_t^T f(q_t) / z_t, S_t = sum_{i <= t} f(k_i) v_i^T, z_t = f(q_t) . sum_{i <= t} f(k_i), f = elu + 1.

    Katharopoulos et al. 2020, arXiv:2006.16236; q, k, v through short convolutions of ``conv`` tokens as in the linear
    mixers that came after it (1: none). The state is (head_dim, head_dim + 1) for each head, whatever n.
    """

    traits: Traits = Traits(causal=True, streams=True, exports=False)
    examples = ({"heads": 2, "chunk": 4},)

    def __init__(self, dim: int, *, heads: int = 4, conv: int = 1, chunk: int = 32) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("LinearAttention", expected="heads that divide dim", found=f"dim {dim}, heads {heads}",
                                do="Choose another number of heads.")  # fmt: skip
        self.heads, self.chunk = heads, chunk
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.conv = ShortConv(3 * dim, width=conv)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        q, k, v = self._heads(self.conv(self.qkv(x), layout))
        return self._read(each_row(lambda *rows: linear_chunked(*rows, chunk=self.chunk)[0], layout, q, k, v))

    def start(self, batch: int) -> State:
        size = self.qkv.in_features // self.heads
        return State(conv=self.conv.start(batch), memory=self.out.weight.new_zeros(batch, self.heads, size, size + 1))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        mixed, conv = self.conv.advance(self.qkv(x), state.child("conv"), layout)

        def go_on(q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
            o, after = linear_chunked(q, k, v, state.tensor("memory"), chunk=self.chunk)
            return o, State(memory=after)

        o, after = each_row(go_on, layout, *self._heads(mixed), state=State(memory=state["memory"]))
        return self._read(o), State(conv=conv, memory=after["memory"])

    def _heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f(q), f(k) and [v, 1], (*tokens, heads, head_dim (+ 1)): the column of ones sums the keys."""
        q, k, v = mixed.unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return F.elu(q) + 1, F.elu(k) + 1, torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)

    def _read(self, o: Tensor) -> Tensor:
        return self.out((o[..., :-1] / o[..., -1:].clamp(min=1e-6)).flatten(-2))
