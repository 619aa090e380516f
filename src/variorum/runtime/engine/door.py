"""The way in and out of a packed model: padding is taken off, rows are put in order of length, answers put back."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from variorum.core import Layout, VariorumError, pack, unpack


@dataclass(frozen=True)
class Order:
    """Where the tokens and the rows of a packed batch come from, and where their answers go back to."""

    tokens: Tensor
    rows: Tensor

    def back(self, answers: Tensor, *, by_token: bool) -> Tensor:
        """Answers for tokens, or for rows, in the caller's order."""
        order = self.tokens if by_token else self.rows
        return torch.empty_like(answers).index_copy_(0, order, answers)


def by_length(x: Tensor, layout: Layout) -> tuple[Tensor, Layout, Order | None]:
    """The same rows, the shortest first; None where they already lie so.

    Rows of one length then are one run of tokens, which attention reads where it lies.
    """
    offsets = layout.offsets
    assert offsets is not None  # packed
    if layout.in_order and all(layout.lengths):
        return x, layout, None
    lengths = offsets.diff()
    rows = lengths.argsort(stable=True)
    new = Layout.ragged(lengths[rows], grid=layout.grid, extent=layout.extent)
    assert new.offsets is not None
    moved = torch.repeat_interleave(offsets[:-1][rows] - new.offsets[:-1], lengths[rows])
    tokens = moved + torch.arange(x.shape[0], device=x.device)
    return x[tokens], _moved(new, layout, tokens, rows), Order(tokens, rows)


def _moved(new: Layout, old: Layout, tokens: Tensor, rows: Tensor) -> Layout:
    """``new`` with what ``old`` tells of tokens and rows."""
    return new.but(
        coords=None if old.coords is None else old.coords[tokens],
        segments=None if old.segments is None else old.segments[tokens],
        start=None if old.start is None else old.start[rows],
    )


def packed(inputs: Tensor, mask: Tensor, layout: Layout | None) -> tuple[Tensor, Layout]:
    """The real tokens of a padded batch; what ``layout`` tells of them goes along."""
    if layout is not None and layout.packed:
        raise VariorumError("mask", expected="rows of equal, padded length", found="a layout of packed rows",
                            do="Leave out the mask: packed rows have no padding.")  # fmt: skip
    x, made = pack(inputs, mask)
    if layout is None:
        return x, made
    return x, made.but(
        coords=None if layout.coords is None else layout.coords[mask],
        segments=None if layout.segments is None else layout.segments[mask],
        start=layout.start,
    )


def needed(mask: Tensor | None, inputs: Tensor, layout: Layout | None) -> Tensor | None:
    """The mask; None where it leaves nothing out: rows of one length need not be packed."""
    if mask is None or mask.dtype != torch.bool or mask.shape != inputs.shape[:2] or (layout and layout.packed):
        return mask
    return None if mask.numel() and mask.all() else mask


def padded(answers: Tensor, mask: Tensor, *, by_token: bool) -> Tensor:
    """Answers for tokens as a padded batch, zeros at padding; answers for rows as they are."""
    return unpack(answers, mask) if by_token else answers


def kind_of(answers: Any, layout: Layout) -> bool | None:
    """Is there an answer for each token (True) or for each row (False)? None where the count tells neither or both."""
    if not isinstance(answers, Tensor) or not answers.dim():
        return None
    tokens, rows = sum(layout.lengths), len(layout.lengths)
    if tokens == rows or answers.shape[0] not in (tokens, rows):
        return None
    return answers.shape[0] == tokens
