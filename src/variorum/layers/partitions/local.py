"""Groups of neighbours. Liu et al. 2021, arXiv:2103.14030; in volumes: Wu et al. 2022, arXiv:2201.00462."""

from collections.abc import Sequence

from variorum.layers.partitions.partition import Partition, checked


class LocalPartition(Partition):
    """Neighbours: cells i with the same floor(i / size), along each axis; the last group takes what is left.

    Liu et al. 2021, arXiv:2103.14030 (windows); Wu et al. 2022, arXiv:2201.00462 (local scope).
    """

    examples = ({"size": (2, 2)}, {"size": (1, 2, 3)})

    def __init__(self, *, size: Sequence[int]) -> None:
        self.size = checked(size)

    def along(self, side: int, cells: int) -> list[range]:
        return [range(first, min(first + cells, side)) for first in range(0, side, cells)]
