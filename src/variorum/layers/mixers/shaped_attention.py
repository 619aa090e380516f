"""Shaped attention: attention that begins as the identity. Noci et al. 2023, arXiv:2306.17759."""

import logging
import math
from collections.abc import Mapping
from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import (
    Growth,
    Layout,
    Memory,
    Mixer,
    Stacked,
    State,
    Streaming,
    Traits,
    VariorumError,
    each_row,
)
from variorum.layers.mixers.cache import store

log = logging.getLogger(__name__)


class Values(StrEnum):
    """What is mixed: the tokens themselves, or a learned map of them that begins as the identity."""

    IDENTITY = "identity"
    LEARNED = "learned"


class ShapedAttention(Mixer, Streaming, Stacked):
    """o = (alpha I + beta A - gamma C) v for each head, A = softmax(q k^T / sqrt(head_dim)).

    Noci et al. 2023, arXiv:2306.17759; without output projection: He & Hofmann 2023, arXiv:2311.01906. A is causal, and
    C_ts = 1/t for keys s = 1..t is what it would be without queries. alpha, beta and gamma are learned and begin at 1,
    queries at 0, where A = C: the mixer begins as the identity.

    values: v = x, or v = skip * x + gain * W x with W from 0, skip and gain from 1.     bias: of queries and keys.
    """

    taps = ("weights",)
    traits: Traits = Traits(causal=True, streams=True, growth=Growth.QUADRATIC)
    examples = ({"heads": 2}, {"heads": 4, "values": Values.LEARNED, "bias": False})

    def __init__(self, dim: int, *, heads: int = 8, values: Values = Values.IDENTITY, bias: bool = True) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("ShapedAttention", expected="heads that divide dim", found=f"dim {dim}, heads {heads}",
                                do="Choose others.")  # fmt: skip
        self.heads, self.head_dim = heads, dim // heads
        self.qk = nn.Linear(dim, 2 * dim, bias=bias)
        nn.init.zeros_(self.qk.weight[:dim].detach())
        if bias:
            nn.init.zeros_(self.qk.bias)
        self.alpha, self.beta, self.gamma = (nn.Parameter(torch.ones(heads)) for _ in range(3))
        learned = values is Values.LEARNED
        self.value = nn.Linear(dim, dim, bias=False) if learned else None
        self.value_skip = nn.Parameter(torch.ones(())) if learned else None
        self.value_gain = nn.Parameter(torch.ones(())) if learned else None
        if self.value is not None:
            nn.init.zeros_(self.value.weight)

    @property
    def stacked(self) -> Mapping[str, Mapping[str, int]]:
        """The maps of queries and keys in ``qk``."""
        return {"qk": dict.fromkeys(("query", "key"), self.heads * self.head_dim)}

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        if memory is not None:
            raise VariorumError("ShapedAttention", expected="no memory", found="one", do="Attend to it with Attention.")
        return each_row(self._attend, layout, *self._project(x)).flatten(-2)

    def start(self, batch: int) -> State:
        total = self.qk.weight.new_zeros(batch, self.heads, self.head_dim)
        empty = total.unsqueeze(1)[:, :0]
        length = torch.zeros(batch, dtype=torch.int64, device=total.device)
        return State(keys=empty, values=empty, total=total, length=length)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        out, state = each_row(self._attend_cached, layout, *self._project(x), state=state)
        return out.flatten(-2), state

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k = self.qk(x).unflatten(-1, (2, self.heads, self.head_dim)).unbind(-3)
        if self.value is not None and self.value_skip is not None and self.value_gain is not None:
            x = self.value_skip * x + self.value_gain * self.value(x)
        return q, k, x.unflatten(-1, (self.heads, self.head_dim))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Equal rows (batch, n, heads, head_dim) -> the same."""
        slots = torch.arange(q.shape[1], device=q.device)
        if self.heard("weights"):
            return self._readable(q, k, v, slots)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True)
        return self._shaped(v, mixed.transpose(1, 2), v.cumsum(1) / (slots + 1)[:, None, None])

    def _attend_cached(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        length = state.tensor("length")
        slots = length[:, None] + torch.arange(q.shape[1], device=q.device)
        keys, values = (store(state.tensor(name), t, slots) for name, t in (("keys", k), ("values", v)))
        totals = state.tensor("total")[:, None] + v.cumsum(1)
        last = totals[:, -1] if q.shape[1] else state.tensor("total")
        after = State(keys=keys, values=values, total=last, length=length + q.shape[1])
        if self.heard("weights"):
            return self._readable(q, keys, values, slots), after
        seen = _seen(slots, keys.shape[1]).unsqueeze(1)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), attn_mask=seen
        )
        return self._shaped(v, mixed.transpose(1, 2), totals / (slots + 1)[..., None, None]), after

    def _shaped(self, own: Tensor, mixed: Tensor, mean: Tensor) -> Tensor:
        alpha, beta, gamma = (g.unsqueeze(-1) for g in (self.alpha, self.beta, self.gamma))
        return alpha * own + beta * mixed - gamma * mean

    def _readable(self, q: Tensor, k: Tensor, v: Tensor, slots: Tensor) -> Tensor:
        """The naive twin: it forms alpha I + beta A - gamma C, (batch, heads, n, m), and shows it."""
        log.info("attention weights asked for: taking the readable path for this call")
        seen = _seen(slots, k.shape[1])
        seen, slots = (seen, slots) if seen.dim() == 2 else (seen.unsqueeze(1), slots.unsqueeze(1))
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.head_dim)
        attention = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
        own = (slots.unsqueeze(-1) == torch.arange(k.shape[1], device=k.device)).to(q.dtype)
        uniform = seen.to(q.dtype) / (slots + 1).unsqueeze(-1)
        alpha, beta, gamma = (g[:, None, None] for g in (self.alpha, self.beta, self.gamma))
        weights = self.tap("weights", alpha * own + beta * attention - gamma * uniform)
        return torch.einsum("bhij,bjhd->bihd", weights, v)


def _seen(slots: Tensor, keys: int) -> Tensor:
    """Which of so many keys a query at ``slots`` (..., n) looks at: (..., n, keys)."""
    return torch.arange(keys, device=slots.device) <= slots.unsqueeze(-1)
