"""What a grouping is: it sends tokens with coordinates into groups within which they attend."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from variorum.core import Growth, Registered


class Groups(NamedTuple):
    """Groups of one size. Row g of ``queries`` (g, a) attends to row g of ``keys`` (g, b): indices of tokens."""

    queries: Tensor
    keys: Tensor


class Grouping(Registered, abstract=True):
    """Cuts the tokens of each row into groups. In all that it gives, each token is a query exactly once."""

    kind: ClassVar[str] = "grouping"
    axes: ClassVar[int]
    """Coordinates that each token needs."""
    growth: ClassVar[Growth]
    """Of the arithmetic of attending within its groups, with the tokens of one map."""

    @abstractmethod
    def groups(self, coords: Tensor, row_of: Tensor, lengths: list[int]) -> list[Groups]:
        """``coords`` (tokens, axes) and the row of each token, rows one after another -> groups, by size.

        Keys of a group are of its row. A row without tokens has no group.
        """


def sort_rows(keys: list[Tensor], row_of: Tensor) -> Tensor:
    """(tokens,) indices: rows in order, within a row by the first key, then by the second, ...; ties as they come."""
    order = torch.arange(len(row_of), device=row_of.device)
    for key in (*reversed(keys), row_of):
        order = order[key[order].argsort(stable=True)]
    return order


def window_of(coords: Tensor, window: int, shift: int) -> tuple[Tensor, Tensor]:
    """The window (tokens, axes) of each token's cell, moved by ``shift``, and its place in the window."""
    cell = coords.floor().long() + shift
    return cell.div(window, rounding_mode="floor"), cell.remainder(window)
