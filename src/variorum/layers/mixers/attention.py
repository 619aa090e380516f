"""Multi-head attention. Vaswani et al. 2017, arXiv:1706.03762; grouped keys: Ainslie et al. 2023, arXiv:2305.13245."""

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
    Rotation,
    ScoreBias,
    Spec,
    State,
    Streaming,
    Traits,
    VariorumError,
    each_pair,
    each_row,
)
from variorum.core.layout import positions
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full
from variorum.layers.positions.rotary import Rotary

log = logging.getLogger(__name__)


class Attention(Mixer, Streaming):
    """softmax(q k^T * scale + bias) v for each head, over the keys that ``pattern`` allows; o = W_o [heads] + b_o.

    Vaswani et al. 2017, arXiv:1706.03762. With ``memory`` the keys and values come from there. Queries, keys and values
    are one fused matrix ``qkv``, in this order.

    heads: must divide ``dim`` unless ``head_dim`` is given.     kv_heads: shared key/value heads (Ainslie et al. 2023).
    rotation: turns q and k by position.    bias: added to scores by position.    scale: 1/sqrt(head_dim) unless given.
    key_bias: False for biases of queries and values only; that of keys cancels in the softmax unless turned.
    """

    taps = ("weights",)
    examples = (
        {"heads": 2},
        {"heads": 2, "pattern": Causal.spec()},
        {
            "heads": 4,
            "kv_heads": 2,
            "pattern": Causal.spec(),
            "rotation": Rotary.spec(),
            "qkv_bias": False,
            "out_bias": False,
        },
        {"heads": 4, "kv_heads": 2, "key_bias": False},
    )

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 8,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        pattern: Spec[Pattern] = Full.spec(),
        rotation: Spec[Rotation] | None = None,
        bias: Spec[ScoreBias] | None = None,
        qkv_bias: bool = True,
        key_bias: bool = True,
        out_bias: bool = True,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if (head_dim is None and dim % heads) or heads % (kv_heads or heads):
            raise VariorumError("Attention", expected="heads that divide dim, and kv_heads that divide heads",
                                found=f"dim {dim}, heads {heads}, kv_heads {kv_heads}",
                                do="Choose others, or set head_dim.")  # fmt: skip
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads or heads, head_dim or dim // heads
        self.scale = 1 / math.sqrt(self.head_dim) if scale is None else scale
        self.qkv = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.head_dim, bias=qkv_bias and key_bias)
        alone = qkv_bias and not key_bias
        self.query_bias = nn.Parameter(torch.zeros(heads * self.head_dim)) if alone else None
        self.value_bias = nn.Parameter(torch.zeros(self.kv_heads * self.head_dim)) if alone else None
        self.out = nn.Linear(heads * self.head_dim, dim, bias=out_bias)
        self.pattern = pattern.build()
        self.rotation = rotation.build(dim=dim, heads=heads) if rotation else None
        self.bias = bias.build(dim=dim, heads=heads) if bias else None
        self.dropout = dropout

    @property
    def traits(self) -> Traits:
        """Causal, and streaming, if the pattern is; equivariant if nothing tells it positions."""
        causal = self.pattern.causal
        placed = causal or self.rotation is not None or self.bias is not None
        return Traits(causal=causal, streams=causal, memory=not placed, equivariant=not placed, growth=Growth.QUADRATIC)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        if memory is not None:
            return self._attend_elsewhere(x, layout, memory)
        q, k, v = self._project(x)
        if self.rotation is not None:
            where = positions(x, layout)
            q, k = self.rotation(q, where), self.rotation(k, where)
        return self.out(each_row(self._attend, layout, q, k, v).flatten(-2))

    def start(self, batch: int) -> State:
        empty = self.qkv.weight.new_zeros(batch, 0, self.kv_heads, self.head_dim)
        length = torch.zeros(batch, dtype=torch.int64, device=empty.device)
        return State(keys=empty, values=empty, length=length)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        if not self.traits.streams:
            raise VariorumError(
                "Attention.advance", expected="a causal pattern", found=str(self.pattern), do="Use Causal."
            )
        q, k, v = self._project(x)
        if self.rotation is not None:
            where = (layout or Layout()).but(start=state.tensor("length")).positions(x)
            q, k = self.rotation(q, where), self.rotation(k, where)
        out, state = each_row(self._attend_cached, layout, q, k, v, state=state)
        return self.out(out.flatten(-2)), state

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=-2)
        return self._biased(q, self.query_bias), k, self._biased(v, self.value_bias)

    def _biased(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return x if bias is None else x + bias.unflatten(0, (-1, self.head_dim))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Equal rows: q (batch, n, heads, head_dim), k and v (batch, n, kv_heads, head_dim) -> like q."""
        if self.pattern.dense and self.bias is None and not self.heard("weights"):
            return self._fused(q, k, v, None, is_causal=self.pattern.causal)
        where = torch.arange(q.shape[1], device=q.device)
        return self._scored(q, k, v, where, where)

    def _attend_cached(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        length = state.tensor("length")
        slots = length[:, None] + torch.arange(q.shape[1], device=q.device)
        keys, values = (_store(state.tensor(name), t, slots) for name, t in (("keys", k), ("values", v)))
        out = self._scored(q, keys, values, slots, torch.arange(keys.shape[1], device=q.device))
        return out, State(keys=keys, values=values, length=length + q.shape[1])

    def _attend_elsewhere(self, x: Tensor, layout: Layout | None, memory: Memory) -> Tensor:
        rows = self.heads * self.head_dim
        bias = (None, None) if self.qkv.bias is None else (self.qkv.bias[:rows], self.qkv.bias[rows:])
        q = F.linear(x, self.qkv.weight[:rows], bias[0]).unflatten(-1, (-1, self.head_dim))
        kv = F.linear(memory.x, self.qkv.weight[rows:], bias[1]).unflatten(-1, (-1, self.head_dim))
        k, v = kv.chunk(2, dim=-2)
        q, v = self._biased(q, self.query_bias), self._biased(v, self.value_bias)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return self._readable(q, k, v, None) if self.heard("weights") else self._fused(q, k, v, None)

        return self.out(each_pair(attend, layout, (q,), memory.layout, (k, v)).flatten(-2))

    def _scored(self, q: Tensor, k: Tensor, v: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """Attention of queries at positions (..., n) over keys at positions (m,), by pattern and bias."""
        allowed = self.pattern.allowed(queries, keys)
        mask = None if allowed is None else allowed if allowed.dim() == 2 else allowed.unsqueeze(1)
        if self.bias is not None:
            added = self.bias(queries, keys).to(q.dtype)
            mask = added if mask is None else added.masked_fill(~mask, -math.inf)
        return self._readable(q, k, v, mask) if self.heard("weights") else self._fused(q, k, v, mask)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool = False) -> Tensor:
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask, is_causal=is_causal,
            scale=self.scale, dropout_p=self.dropout if self.training else 0.0, enable_gqa=self.kv_heads != self.heads,
        )  # fmt: skip
        return out.transpose(1, 2)

    def _readable(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The naive twin of ``_fused``: it forms the weights (batch, heads, n, m) and shows them."""
        log.info("attention weights asked for: taking the readable path for this call")
        repeat = self.heads // self.kv_heads
        k, v = (t.repeat_interleave(repeat, dim=-2) if repeat > 1 else t for t in (k, v))
        scores = torch.einsum("bihd,bjhd->bhij", q, k) * self.scale
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        weights = self.tap("weights", scores.softmax(dim=-1))
        weights = F.dropout(weights, self.dropout, self.training)
        return torch.einsum("bhij,bjhd->bihd", weights, v)


def _store(cache: Tensor, new: Tensor, slots: Tensor) -> Tensor:
    """Write ``new`` (batch, n, ...) at ``slots`` (batch, n) of a cache (batch, capacity, ...), doubled when full."""
    need = int(slots.max()) + 1 if slots.numel() else 0
    if need > cache.shape[1]:
        capacity = max(need, 2 * cache.shape[1], 16)
        cache = torch.cat([cache, cache.new_zeros(cache.shape[0], capacity - cache.shape[1], *cache.shape[2:])], 1)
    rows = torch.arange(cache.shape[0], device=cache.device)[:, None]
    if torch.is_grad_enabled():
        return cache.index_put((rows, slots), new.to(cache.dtype))
    cache[rows, slots] = new.to(cache.dtype)
    return cache
