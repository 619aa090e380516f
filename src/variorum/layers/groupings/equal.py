"""Groups of equal size instead of equal shape. Liu et al. 2023, arXiv:2301.08739."""

from enum import StrEnum

import torch
from torch import Tensor

from variorum.core import Growth, VariorumError
from variorum.layers.groupings.grouping import Grouping, Groups, sort_rows, window_of


class Axis(StrEnum):
    """Along which axis neighbouring windows follow one another."""

    X = "x"
    Y = "y"


class EqualGroups(Grouping):
    """Tokens in the order of a snake through windows, cut after every ``size`` of them.

    Liu et al. 2023, arXiv:2301.08739 (flattened windows). Coordinates (x, y) are cells of a map. Windows are
    ``window`` x ``window`` cells; those of one line along ``axis`` follow one another, the next line goes the other
    way, as in the authors' code, and so do the lines of cells within a window. ``shift`` moves the windows by so many
    cells. The last group of a row that does not divide is short; its keys are the last ``size`` tokens of the row,
    which is what filling it up with tokens of the group before comes to. A row of fewer tokens is one group.
    """

    axes = 2
    growth = Growth.LOGLINEAR
    examples = ({}, {"size": 5, "window": 3, "axis": Axis.Y, "shift": 1})

    def __init__(self, *, size: int = 69, window: int = 9, axis: Axis = Axis.X, shift: int = 0) -> None:
        if size < 1 or window < 1 or not 0 <= shift < window:
            raise VariorumError("EqualGroups", expected="size and window above 0, and a shift smaller than the window",
                                found=f"size {size}, window {window}, shift {shift}", do="Choose others.")  # fmt: skip
        self.size, self.window, self.axis, self.shift = size, window, Axis(axis), shift

    def order(self, coords: Tensor, row_of: Tensor) -> Tensor:
        """(tokens,) indices of tokens along the snake, row after row."""
        window, place = window_of(coords, self.window, self.shift)
        along, across = (0, 1) if self.axis is Axis.X else (1, 0)
        back = _back(window[:, across])
        keys = [
            window[:, across],
            back * window[:, along],
            back * place[:, along],
            back * _back(place[:, along]) * place[:, across],
        ]
        return sort_rows(keys, row_of)

    def groups(self, coords: Tensor, row_of: Tensor, lengths: list[int]) -> list[Groups]:
        order = self.order(coords, row_of)
        starts: dict[tuple[int, int], list[int]] = {}
        first = 0
        for n in lengths:
            rest = n % self.size
            starts.setdefault((self.size, self.size), []).extend(range(first, first + n - rest, self.size))
            if rest:
                starts.setdefault((rest, min(n, self.size)), []).append(first + n)
            first += n
        found = []
        for (a, b), places in starts.items():
            end = torch.tensor(places, device=order.device, dtype=torch.int64)[:, None]
            end = end + self.size if a == self.size else end
            if len(places):
                queries, keys = (end - count + torch.arange(count, device=order.device) for count in (a, b))
                found.append(Groups(order[queries], order[keys]))
        return found


def _back(lines: Tensor) -> Tensor:
    """1 for even lines, -1 for odd ones, which are gone through backwards."""
    return 1 - 2 * lines.remainder(2)
