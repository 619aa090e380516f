"""Attention to near keys one by one and to regions of far ones as one. Ren et al. 2021, arXiv:2107.05768."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import (
    Layout,
    Memory,
    Mixer,
    Rotation,
    Spec,
    State,
    Streaming,
    Traits,
    VariorumError,
    each_row,
)
from variorum.core.layout import positions
from variorum.layers.mixers.cache import store
from variorum.layers.positions.bucket_bias import Sides
from variorum.layers.positions.rotary import Rotary
from variorum.layers.regions.blocks import BlockRegions
from variorum.layers.regions.dyadic import DyadicRegions
from variorum.layers.regions.regions import Look, Pooling, Regions
from variorum.layers.regions.rows import RowRegions


class RegionAttention(Mixer, Streaming):
    """sum_j p(j|i) v_j with p(j|i) = p(j) for keys looked at directly, p(R) p(j|R) for a key j of a region R.

    Ren et al. 2021, arXiv:2107.05768. One softmax of q_i k_j / sqrt(head_dim) over direct keys and of
    q_i k_R / sqrt(head_dim) over regions gives p(j) and p(R); p(j|R) = softmax_j(q_R k_j / sqrt(head_dim)) does not
    depend on i, so that a region is summarised once for all queries. Every key has a weight above 0: full attention in
    every head. q_R and k_R are pooled over the region. sides: past for a causal mixer, which streams: it keeps queries,
    keys and values of all tokens, and what regions make of theirs, and scores its own tokens only.
    """

    examples = (
        {"heads": 2, "regions": BlockRegions.spec(size=4), "sides": Sides.PAST, "rotation": Rotary.spec()},
        {"heads": 2, "regions": RowRegions.spec(width=4)},
        {"heads": 2, "regions": DyadicRegions.spec(), "pooling": Pooling.MEAN},
        {"heads": 2, "regions": RowRegions.spec(width=4), "sides": Sides.PAST},
        {"heads": 2, "regions": DyadicRegions.spec(), "sides": Sides.PAST},
    )

    def __init__(
        self,
        dim: int,
        *,
        regions: Spec[Regions],
        heads: int = 8,
        sides: Sides = Sides.BOTH,
        pooling: Pooling = Pooling.MAX,
        rotation: Spec[Rotation] | None = None,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("RegionAttention", expected="heads that divide dim", found=f"dim {dim}, heads {heads}",
                                do="Choose others.")  # fmt: skip
        self.heads, self.causal, self.pooling = heads, Sides(sides) is Sides.PAST, Pooling(pooling)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.regions = regions.build()
        self.rotation = rotation.build(dim=dim, heads=heads) if rotation else None

    @property
    def traits(self) -> Traits:
        """Causal, and streaming, if it looks at the past only; its growth is that of its regions, as is its export."""
        regions = self.regions
        return Traits(causal=self.causal, streams=self.causal, growth=regions.growth, exports=regions.exports)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self.out(each_row(self._attend, layout, *self._maps(x, positions(x, layout))).flatten(-2))

    def start(self, batch: int) -> State:
        empty = self.out.weight.new_zeros(batch, 0, self.heads, self.out.in_features // self.heads)
        length = torch.zeros(batch, dtype=torch.int64, device=empty.device)
        return State(queries=empty, keys=empty, values=empty, regions=self.regions.start(empty), length=length)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        if not self.causal:
            raise VariorumError("RegionAttention.advance", expected="a causal mixer", found="one that looks both ways",
                                do="Use Sides.PAST.")  # fmt: skip
        where = (layout or Layout()).but(start=state.tensor("length")).positions(x)
        out, state = each_row(self._go_on, layout, *self._maps(x, where), state=state)
        return self.out(out.flatten(-2)), state

    def _maps(self, x: Tensor, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens at positions ``where``, (*tokens, heads, head_dim) each."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return (q, k, v) if self.rotation is None else (self.rotation(q, where), self.rotation(k, where), v)

    def _go_on(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        length, n = state.tensor("length"), q.shape[1]
        if not q.numel():
            return q, state
        slots = length[:, None] + torch.arange(n, device=q.device)
        kept = {name: store(state.tensor(name), t, slots) for name, t in (("queries", q), ("keys", k), ("values", v))}
        # A graph that is exported cannot look at slots; it has as many places as there were tokens.
        used = None if torch.compiler.is_exporting() else int(slots.max()) + 1
        asked, given, held = (t[:, :used].to(q.dtype) for t in kept.values())
        looks, regions = self.regions.goes_on(
            asked,
            given,
            held,
            state.child("regions"),
            first=length,
            n=n,
            scale=1 / math.sqrt(q.shape[-1]),
            pooling=self.pooling,
        )
        return _read(looks), State(**kept, regions=regions, length=length + n)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (batch, n, heads, head_dim) -> what every query is given."""
        if not q.numel():
            return q
        return _read(
            self.regions.looks(q, k, v, scale=1 / math.sqrt(q.shape[-1]), causal=self.causal, pooling=self.pooling)
        )


def _read(looks: list[Look]) -> Tensor:
    """What is read under one softmax of everything that is looked at."""
    weights = torch.cat([look.scores for look in looks], dim=-1).softmax(dim=-1)
    parts = weights.split([look.scores.shape[-1] for look in looks], dim=-1)
    read = [look.read(part) for look, part in zip(looks, parts, strict=True)]
    return torch.stack(read).sum(dim=0)
