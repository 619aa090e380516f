"""What memories that learn at test time share: a network for each head that is trained along the row, and asked."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Spec, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.fast_networks.fast_mlp import FastMLP
from variorum.layers.fast_networks.fast_network import FastNetwork
from variorum.layers.features.monomials import Monomials
from variorum.layers.mixers.kernels.omega import Update, omega_chunked, omega_start
from variorum.layers.mixers.short_conv import ShortConv
from variorum.layers.norms.rmsnorm import RMSNorm

_DEEP: Spec[FastNetwork] = FastMLP.spec(features=Monomials.spec())


class DeepMemory(Mixer, Streaming, abstract=True):
    """o_t = M_t(q_t), M_t made of M_{t-1} by a step that lowers the loss of the last ``window`` pairs (k, v).

    The loss is sum_{j < window} g_{t-j,j} 1/2 |M(k_{t-j}) - v_{t-j}|^2; a token's gates, one for each step that it is
    learned in, are g_t = sigmoid(W_g x_t + b) / window, so that together they are at most one step's, whatever the
    window: steps of more overshoot. q, k, v = SiLU(shortconv(W x)), q and k of unit length; y = W_o rmsnorm(o).
    Gradients are taken at the memory of the last end of ``chunk`` tokens. Behrouz et al. 2025, arXiv:2505.23735.
    A member says how large its steps are (``steps``, made of ``rates``, a map of the token that begins with the biases
    ``starts``) and what is made of gradients (``update``; None: nothing).
    The state is two or three networks for each head and the last window - 1 keys, values and gates, whatever n.
    """

    traits: Traits = Traits(causal=True, streams=True, exports=False)
    update: ClassVar[Update | None] = None

    def __init__(
        self, dim: int, *, heads: int = 4, network: Spec[FastNetwork] = _DEEP, window: int = 16, conv: int = 4,
        chunk: int = 16,
    ) -> None:  # fmt: skip
        super().__init__()
        if dim % heads or window < 1 or chunk < 1:
            raise VariorumError(type(self).__name__, expected="heads that divide dim, a window and a chunk above 0",
                                found=f"dim {dim}, heads {heads}, window {window}, chunk {chunk}",
                                do="Choose others.")  # fmt: skip
        self.heads, self.window, self.chunk = heads, window, chunk
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.conv = ShortConv(3 * dim, width=conv) if conv else None
        self.network = network.build(dim=dim // heads)
        self.gates = nn.Linear(dim, heads * window)
        self.norm = RMSNorm(dim // heads)
        self.out = nn.Linear(dim, dim, bias=False)
        starts = self.starts(heads)
        self.momentum = len(starts) > 2
        self.rates = nn.Linear(dim, len(starts) * heads)
        with torch.no_grad():
            self.rates.bias.copy_(torch.cat(starts))

    @staticmethod
    @abstractmethod
    def starts(heads: int) -> tuple[Tensor, ...]:
        """The biases of what rates, decays and, with momentum, its decays are made of: (heads,) each."""

    @abstractmethod
    def steps(self, x: Float[Tensor, "*tokens dim"]) -> tuple[Tensor, ...]:
        """Rates, log decays and, with momentum, its log decays: (*tokens, heads) each."""

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        mixed = self.qkv(x) if self.conv is None else self.conv(self.qkv(x), layout)

        def along(*rows: Tensor) -> Tensor:
            return self._along(*rows, state=self._blank(rows[0].shape[0]), place=0)[0]

        return self._answer(each_row(along, layout, *self._operands(x, mixed)))

    def start(self, batch: int) -> State:
        place = self.out.weight.new_zeros(batch, dtype=torch.int64)
        state = State(learned=self._blank(batch), place=place)
        return state if self.conv is None else State({**state, "conv": self.conv.start(batch)})

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        mixed, after = self.qkv(x), State()
        if self.conv is not None:
            mixed, after["conv"] = self.conv.advance(mixed, state.child("conv"), layout)

        def go_on(*rows: Any) -> tuple[Tensor, State]:
            *operands, before = rows
            return self._by_place(operands, before)

        kept = State(learned=state["learned"], place=state["place"])
        o, kept = each_row(go_on, layout, *self._operands(x, mixed), state=kept)
        return self._answer(o), State({**after, **kept})

    def _by_place(self, rows: list[Tensor], state: State) -> tuple[Tensor, State]:
        """Rows that stand at different places of their chunks go on group by group, each up to its chunk's own end."""
        places, out = state.tensor("place"), torch.zeros_like(rows[2])
        moved = (places + out.shape[1]) % self.chunk
        for place in places.unique().tolist():
            mine = (places == place).nonzero()[:, 0]
            before = state.child("learned").rows(mine)
            o, learned = self._along(*(row[mine] for row in rows), state=before, place=place)
            out = out.index_copy(0, mine, o)
            state = State(learned=state.child("learned").put(mine, learned), place=moved)
        return out, state

    def _along(self, *rows: Tensor, state: State, place: int) -> tuple[Tensor, State]:
        update = type(self).update
        return omega_chunked(self.network, *rows, state=state, chunk=self.chunk, place=place, update=update)

    def _blank(self, batch: int) -> State:
        width = self.out.in_features // self.heads
        weights = list(self.network.weights)
        return omega_start(weights, batch=batch, heads=self.heads, dim=width, window=self.window,
                           momentum=self.momentum)  # fmt: skip

    def _operands(self, x: Tensor, mixed: Tensor) -> tuple[Tensor, ...]:
        q, k, v = F.silu(mixed).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        gates = torch.sigmoid(self.gates(x)).unflatten(-1, (self.heads, self.window)) / self.window
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, gates, *self.steps(x)

    def _answer(self, o: Tensor) -> Tensor:
        return self.out(self.norm(o).flatten(-2))
