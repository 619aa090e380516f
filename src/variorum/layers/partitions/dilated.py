"""Groups of cells that lie evenly over the whole grid. Wu et al. 2022, arXiv:2201.00462."""

from collections.abc import Sequence

from variorum.layers.partitions.partition import Partition, checked


class DilatedPartition(Partition):
    """Every I-th cell: cells i with the same i mod I, I = ceil(side / size), along each axis.

    Wu et al. 2022, arXiv:2201.00462 (global scope): as many cells as in a local group of this size, spread over all of
    the grid; with size = grid all cells. Tu et al. 2022, arXiv:2204.01697 (grid attention). Where the size does not
    divide a side, some groups have a cell less.
    """

    examples = ({"size": (2, 2)}, {"size": (1, 2, 3)})

    def __init__(self, *, size: Sequence[int]) -> None:
        self.size = checked(size)

    def along(self, side: int, cells: int) -> list[range]:
        interval = -(-side // cells)
        return [range(first, side, interval) for first in range(interval)]
