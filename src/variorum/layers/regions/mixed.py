"""Several ways to part the keys at once. Ren et al. 2021, arXiv:2107.05768, Combiner-Mixture."""

from collections.abc import Sequence

from torch import Tensor

from variorum.core import Growth, Spec, State, VariorumError
from variorum.layers.regions.blocks import BlockRegions
from variorum.layers.regions.dyadic import DyadicRegions
from variorum.layers.regions.regions import Look, Pooling, Regions


class MixedRegions(Regions):
    """Everything that each of several ways looks at, under one softmax: a key's weight is the sum over all its ways.

    Ren et al. 2021, arXiv:2107.05768 (Combiner-Mixture).
    """

    growth = Growth.QUADRATIC
    examples = ({"each": [BlockRegions.spec(size=3), DyadicRegions.spec()]},)

    def __init__(self, *, each: Sequence[Spec[Regions]]) -> None:
        if not each:
            raise VariorumError("MixedRegions", expected="one way or more", found="none", do="Give some.")
        self.each = [regions.build() for regions in each]
        self.exports = all(regions.exports for regions in self.each)

    def looks(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, pooling: Pooling) -> list[Look]:
        return [
            look
            for regions in self.each
            for look in regions.looks(q, k, v, scale=scale, causal=causal, pooling=pooling)
        ]

    def start(self, empty: Tensor) -> State:
        return State({str(i): regions.start(empty) for i, regions in enumerate(self.each)})

    def goes_on(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, *, first: Tensor, n: int, scale: float, pooling: Pooling
    ) -> tuple[list[Look], State]:
        looks, after = [], {}
        for i, regions in enumerate(self.each):
            each, after[str(i)] = regions.goes_on(
                q, k, v, state.child(str(i)), first=first, n=n, scale=scale, pooling=pooling
            )
            looks += each
        return looks, State(after)
