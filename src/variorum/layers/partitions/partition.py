"""What a partition is: every cell of a grid in one group, told axis by axis."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from variorum.core import Registered, VariorumError


class Partition(Registered, abstract=True):
    """Parts a grid into groups of at most ``size`` cells; holds no parameters.

    A group is a product of one set of indices from each axis, so that it is a (small) grid again. size: cells of a
    group along each axis, as many numbers as the grid has axes.
    """

    kind: ClassVar[str] = "partition"
    size: tuple[int, ...]

    @abstractmethod
    def along(self, side: int, cells: int) -> list[range]:
        """The sets of indices that an axis of length ``side`` falls into, each of at most ``cells``; together all."""


def checked(size: Sequence[int]) -> tuple[int, ...]:
    """The size of a group; VariorumError unless it has a positive number of cells along one axis or more."""
    if not size or min(size) < 1:
        raise VariorumError("group size", expected="one number of cells for each axis, at least 1",
                            found=str(tuple(size)), do="Give such as (2, 8, 8) for a volume.")  # fmt: skip
    return tuple(size)
