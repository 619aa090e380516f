"""Attention whose scores know the distance of query and key by content. Dai et al. 2019, arXiv:1901.02860."""

import logging
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import (
    Growth,
    Layout,
    Memory,
    Mixer,
    Pattern,
    Spec,
    State,
    Streaming,
    Traits,
    VariorumError,
    each_row,
)
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.chunked import Chunked
from variorum.layers.patterns.full import Full
from variorum.layers.positions.sinusoid import sinusoid

log = logging.getLogger(__name__)


class RelativeAttention(Mixer, Streaming):
    """softmax(((q_i + u) k_j^T + (q_i + v) (W_r r_{i-j})^T) / sqrt(head_dim)) v_j of each head; W_o [heads] + b_o.

    r_d are sines and cosines of the distance d, u and v are learned for each head. Dai et al. 2019, arXiv:1901.02860,
    as in the Conformer (Gulati et al. 2020, arXiv:2005.08100). Queries, keys and values are one fused matrix ``qkv``.

    pattern: which keys a query may look at. One that cuts rows into pieces and has a bounded reach streams, piece by
    piece: the keys and values that later pieces can reach are kept, whatever the length. (Noroozi et al. 2023,
    arXiv:2312.17279, keep the inputs that these are made of, which is half the memory, and project them again.)
    """

    taps = ("weights",)
    examples = (
        {"heads": 2},
        {"heads": 2, "pattern": Causal.spec(), "bias": False},
        {"heads": 2, "pattern": Chunked.spec(left=4, right=0)},
        {"heads": 4, "pattern": Chunked.spec(left=3, right=1)},
    )

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 8,
        pattern: Spec[Pattern] = Full.spec(),
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("RelativeAttention", expected="heads that divide dim",
                                found=f"dim {dim}, heads {heads}",
                                do="Choose another number of heads.")  # fmt: skip
        self.heads, self.head_dim, self.dropout = heads, dim // heads, dropout
        self.pattern = pattern.build()
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.where = nn.Linear(dim, dim, bias=False)
        self.content, self.place = (nn.Parameter(torch.zeros(heads, self.head_dim)) for _ in range(2))
        self.out = nn.Linear(dim, dim, bias=bias)

    @property
    def traits(self) -> Traits:
        """Causal if the pattern is; it streams if the pattern cuts the row into pieces and bounds the past."""
        piece = 1 if self.pattern.causal else self.pattern.piece
        streams = piece is not None and self.pattern.reach is not None
        return Traits(causal=self.pattern.causal, streams=streams, piece=piece or 1, growth=Growth.QUADRATIC)

    def look(self, pattern: Pattern) -> None:
        """From now on look where this pattern says: the parameters know of none."""
        self.pattern = pattern

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            where = torch.arange(q.shape[1], device=q.device)
            return self._attend(q, k, v, self.pattern.allowed(where, where))

        return self.out(each_row(attend, layout, *self._project(x)).flatten(-2))

    def start(self, batch: int) -> State:
        kept = (self.pattern.reach or 0) - self.traits.piece if self.traits.streams else 0
        blank = self.qkv.weight.new_zeros(batch, kept, self.heads, self.head_dim)
        length = torch.zeros(batch, dtype=torch.int64, device=blank.device)
        return State(keys=blank, values=blank.clone(), length=length)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        if not self.traits.streams:
            raise VariorumError("RelativeAttention.advance", expected="a pattern of pieces with a bounded reach",
                                found=str(type(self.pattern).__name__), do="Use Chunked.")  # fmt: skip
        out, state = each_row(self._attend_cached, layout, *self._project(x), state=state)
        return self.out(out.flatten(-2)), state

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim)).unbind(dim=-3)
        return q, k, v

    def _attend_cached(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        length, kept = state.tensor("length"), state.tensor("keys").shape[1]
        if (length % self.traits.piece).any():
            raise VariorumError("RelativeAttention.advance", expected=f"pieces of a multiple of {self.traits.piece}",
                                found="a row that goes on after a shorter one, which only its last may be",
                                do="Gather tokens until a piece is full.")  # fmt: skip
        keys, values = (torch.cat([state.tensor(name), t], dim=1) for name, t in (("keys", k), ("values", v)))
        queries = length[:, None] + torch.arange(q.shape[1], device=q.device)
        where = length[:, None] + torch.arange(-kept, q.shape[1], device=q.device)
        allowed = (where >= 0).unsqueeze(-2)
        pattern = self.pattern.allowed(queries, where)
        out = self._attend(q, keys, values, allowed if pattern is None else allowed & pattern)
        rest = keys.shape[1] - kept
        return out, State(keys=keys[:, rest:], values=values[:, rest:], length=length + q.shape[1])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
        """Queries (batch, n, heads, head_dim), the last of m keys -> like q; ``allowed`` (n, m) or (batch, n, m)."""
        scores = self._by_distance(q, k.shape[1]) / math.sqrt(self.head_dim)
        if allowed is not None:
            scores = scores.masked_fill(~(allowed if allowed.dim() == 2 else allowed.unsqueeze(1)), -math.inf)
        q = q + self.content
        if self.heard("weights"):
            return self._readable(q, k, v, scores)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=scores, dropout_p=dropout).transpose(1, 2)

    def _readable(self, q: Tensor, k: Tensor, v: Tensor, scores: Tensor) -> Tensor:
        """The naive twin of the fused attention: it forms the weights (batch, heads, n, m) and shows them."""
        log.info("attention weights asked for: taking the readable path for this call")
        scores = scores + torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.head_dim)
        weights = F.dropout(self.tap("weights", scores.softmax(dim=-1)), self.dropout, self.training)
        return torch.einsum("bhij,bjhd->bihd", weights, v)

    def _by_distance(self, q: Tensor, m: int) -> Tensor:
        """(q_i + v) (W_r r_{i-j})^T, (batch, heads, n, m), of the last n of m positions over all of them."""
        n = q.shape[1]
        distance = torch.arange(m - 1, -n, -1, device=q.device)
        r = self.where(sinusoid(distance, self.heads * self.head_dim).to(q.dtype)).unflatten(-1, (self.heads, -1))
        scores = torch.einsum("bihe,dhe->bhid", q + self.place, r)
        # Row i wants the distances from m - n + i down, which begin at n - 1 - i: dropping n of the numbers, a column
        # put in front of each row, shifts every row by one more than the row before.
        padded = F.pad(scores, (1, 0)).flatten(-2)[..., n:]
        return padded.unflatten(-1, (n, n + m - 1))[..., :m]
