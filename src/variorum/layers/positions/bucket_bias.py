"""A learned score for each range of distances. Raffel et al. 2020, arXiv:1910.10683, section 2.1."""

import math
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import ScoreBias, Traits, VariorumError


class Sides(StrEnum):
    """Which keys have buckets of their own: those before and after the query, or only those not after it."""

    BOTH = "both"
    PAST = "past"


class BucketBias(ScoreBias):
    """B[h, i, j] = T[bucket(j - i), h]: a bucket for each short distance, then buckets that grow with the logarithm.

    Raffel et al. 2020, arXiv:1910.10683. Of the E buckets of a side, distance d < E/2 has bucket d, a greater one
    E/2 + floor(log(d / (E/2)) / log(furthest / (E/2)) * E/2), at most E - 1. With ``sides`` both, E is half of
    ``buckets`` and later keys have the second half; with past, E is ``buckets`` and a later key counts as distance 0.

    furthest: from this distance on all share the last bucket.    std: of the normal initial values.
    """

    traits: Traits = Traits()
    examples = (
        {"buckets": 4, "furthest": 6, "heads": 2},
        {"buckets": 8, "furthest": 10, "sides": Sides.PAST, "heads": 2},
    )

    def __init__(
        self, heads: int, *, buckets: int = 32, furthest: int = 128, sides: Sides = Sides.BOTH, std: float = 0.02
    ) -> None:
        super().__init__()
        self.each = buckets // 2 if sides is Sides.BOTH else buckets
        if self.each < 2 or (sides is Sides.BOTH and buckets % 2) or furthest <= self.each // 2:
            raise VariorumError(
                "BucketBias",
                expected="2 buckets a side or more, and furthest beyond half of a side's",
                found=f"buckets {buckets}, sides {sides}, furthest {furthest}",
                do="Choose others.",
            )
        self.furthest, self.sides = furthest, sides
        self.table = nn.Parameter(torch.empty(buckets, heads))
        nn.init.normal_(self.table, std=std)

    def forward(
        self, queries: Int[Tensor, "*rows n"], keys: Int[Tensor, "*rows m"]
    ) -> Float[Tensor, "*rows heads n m"]:
        behind = queries.unsqueeze(-1) - keys.unsqueeze(-2)
        bucket = self._bucket(behind.clamp(min=0) if self.sides is Sides.PAST else behind.abs())
        if self.sides is Sides.BOTH:
            bucket = bucket + self.each * (behind < 0)
        return self.table[bucket].movedim(-1, -3)

    def _bucket(self, distance: Tensor) -> Tensor:
        exact = self.each // 2
        # single precision whatever the model's, for the floor must fall alike
        growing = torch.log(distance.float() / exact) / math.log(self.furthest / exact) * (self.each - exact)
        far = (exact + growing.clamp(min=0).long()).clamp(max=self.each - 1)
        return torch.where(distance < exact, distance, far)
