"""Attention within groups of tokens. Liu et al. 2023, arXiv:2301.08739; Fan et al. 2021, arXiv:2112.06375."""

import logging
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Position, Spec, Traits, VariorumError
from variorum.layers.groupings.equal import EqualGroups
from variorum.layers.groupings.grouping import Grouping, Groups
from variorum.layers.groupings.windows import WindowGroups
from variorum.layers.positions.places import PlaceSinusoid, coordinates

log = logging.getLogger(__name__)


class GroupedAttention(Mixer):
    """softmax(q k^T / sqrt(head_dim)) v among the tokens of a group; q and k of x + position, v of x.

    Liu et al. 2023, arXiv:2301.08739. ``grouping`` says from ``layout.coords`` which tokens are a group; each token
    asks in one group, and goes back to its own place. Nothing is padded: a group's queries may be fewer than its keys.
    """

    taps = ("weights",)
    examples = (
        {"heads": 2, "grouping": EqualGroups.spec(size=5, window=2)},
        {"heads": 2, "grouping": WindowGroups.spec(window=2, shift=1), "position": PlaceSinusoid.spec()},
    )

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 8,
        grouping: Spec[Grouping] = EqualGroups.spec(),
        position: Spec[Position] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("GroupedAttention", expected="heads that divide dim", found=f"dim {dim}, heads {heads}",
                                do="Choose others.")  # fmt: skip
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.grouping = grouping.build()
        self.position = position.build(dim=dim) if position else None

    @property
    def traits(self) -> Traits:
        """Its groups depend on coordinates, and its shapes on the data."""
        return Traits(coords=self.grouping.axes, growth=self.grouping.growth, exports=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        if memory is not None:
            raise VariorumError("GroupedAttention", expected="no memory", found="one", do="Attend with Attention.")
        where = coordinates(layout, self.grouping.axes)
        q, k, v = (t.reshape(-1, self.heads, t.shape[-1] // self.heads) for t in self._project(x, layout))
        if layout is not None and layout.packed:
            row_of, lengths = layout.row_of, layout.lengths
        else:
            row_of = torch.arange(x.shape[0], device=x.device).repeat_interleave(x.shape[1])
            lengths = [x.shape[1]] * x.shape[0]
        groups = self.grouping.groups(where.reshape(-1, where.shape[-1]), row_of, lengths)
        mixed = [self._attend(q, k, v, group).flatten(0, 1) for group in groups]
        if not mixed:
            return self.out(x)
        back = torch.cat([group.queries.flatten() for group in groups])
        joined = torch.cat(mixed).flatten(1)
        return self.out(torch.empty_like(joined).index_copy(0, back, joined).view_as(x))

    def _project(self, x: Tensor, layout: Layout | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads."""
        if self.position is None:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            return q, k, v
        split = 2 * x.shape[-1]
        q, k = F.linear(self.position(x, layout), self.qkv.weight[:split], self.qkv.bias[:split]).chunk(2, dim=-1)
        return q, k, F.linear(x, self.qkv.weight[split:], self.qkv.bias[split:])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, group: Groups) -> Tensor:
        """(groups, a, heads, head_dim) of the queries of groups of one size."""
        q, k, v = (t[index].transpose(1, 2) for t, index in ((q, group.queries), (k, group.keys), (v, group.keys)))
        if not self.heard("weights"):
            dropout = self.dropout if self.training else 0.0
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2)
        log.info("attention weights asked for: taking the readable path for this call")
        weights = self.tap("weights", (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1))
        return (F.dropout(weights, self.dropout, self.training) @ v).transpose(1, 2)
