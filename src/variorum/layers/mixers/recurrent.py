"""What linear-time mixers share: q, k and v through a short convolution, and a matrix state that goes along the row."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.short_conv import ShortConv


class Recurrent(Mixer, Streaming, abstract=True):
    """o_t = q_t read from S_t, S_t made of S_{t-1} and what token t writes; y = W_o answer(o).

    A member names its ``kernel``, makes that kernel's ``operands`` of the tokens, and its ``answer`` of what was read.
    keys: width of all keys together.     conv: width of the short convolution that makes q, k and v (1: a scale).
    chunk: tokens that the kernel takes at once.     The state is (keys / heads, values) for each head, whatever n.
    """

    traits: Traits = Traits(causal=True, streams=True)
    kernel: Callable[..., tuple[Tensor, Tensor]]
    """(*operands (batch, n, heads, ...), state, chunk=) -> (o (batch, n, heads, values), the state after the row)."""

    def __init__(self, dim: int, *, heads: int, keys: int, conv: int, chunk: int) -> None:
        super().__init__()
        if dim % heads or keys % heads:
            raise VariorumError(type(self).__name__, expected="heads that divide dim and keys",
                                found=f"dim {dim}, keys {keys}, heads {heads}",
                                do="Choose another number of heads.")  # fmt: skip
        self.heads, self.keys, self.chunk = heads, keys, chunk
        self.values = dim // heads
        self.qkv = nn.Linear(dim, 2 * keys + dim, bias=False)
        self.conv = ShortConv(2 * keys + dim, width=conv)
        self.out = nn.Linear(dim, dim, bias=False)

    @abstractmethod
    def operands(
        self,
        x: Float[Tensor, "*tokens dim"],
        q: Float[Tensor, "*tokens heads head_keys"],
        k: Float[Tensor, "*tokens heads head_keys"],
        v: Float[Tensor, "*tokens heads head_dim"],
    ) -> tuple[Tensor, ...]:
        """The kernel's operands, each (*tokens, heads, ...)."""

    @abstractmethod
    def answer(
        self, x: Float[Tensor, "*tokens dim"], o: Float[Tensor, "*tokens heads values"]
    ) -> Float[Tensor, "*tokens dim"]:
        """What goes into W_o."""

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        rows = self._operands(x, self.conv(self.qkv(x), layout))
        o = each_row(lambda *rows: self.kernel(*rows, chunk=self.chunk)[0], layout, *rows)
        return self.out(self.answer(x, o))

    def start(self, batch: int) -> State:
        memory = self.out.weight.new_zeros(batch, self.heads, self.keys // self.heads, self.values)
        return State(conv=self.conv.start(batch), memory=memory)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        mixed, conv = self.conv.advance(self.qkv(x), state.child("conv"), layout)

        def go_on(*rows: Any) -> tuple[Tensor, State]:
            *operands, before = rows
            o, after = self.kernel(*operands, state=before.tensor("memory"), chunk=self.chunk)
            return o, State(memory=after)

        o, after = each_row(go_on, layout, *self._operands(x, mixed), state=State(memory=state["memory"]))
        return self.out(self.answer(x, o)), State(conv=conv, memory=after["memory"])

    def _operands(self, x: Tensor, mixed: Tensor) -> tuple[Tensor, ...]:
        q, k, v = mixed.split((self.keys, self.keys, self.out.in_features), dim=-1)
        return self.operands(x, *(t.unflatten(-1, (self.heads, -1)) for t in (q, k, v)))
