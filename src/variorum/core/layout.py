"""Layout: how tokens lie, in one of two forms: equal rows (batch, n, dim), or packed ones (tokens, dim)."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from variorum.core.errors import VariorumError
from variorum.core.state import State


@dataclass(frozen=True, eq=False)
class Layout:
    """Where tokens lie.

    offsets: (rows + 1,) int64, first token of each packed row and the total; None for a batch of equal rows.
    grid: sizes of the grid the tokens of each row come from, row-major: (H, W) or (T, H, W).
    extent: sides of the raw grid (pixels, voxels) that the tokens were made of, so that answers can be cut to it.
    coords: (*tokens, d) positions in space or time.     segments: (*tokens,) int64 segment of each token.
    start: (rows,) int64 position of each row's first token (0 unless a stream goes on).
    ``*tokens`` is (batch, n) for equal rows and (tokens,) for packed ones.
    """

    offsets: Tensor | None = None
    grid: tuple[int, ...] | None = None
    extent: tuple[int, ...] | None = None
    coords: Tensor | None = None
    segments: Tensor | None = None
    start: Tensor | None = None

    @classmethod
    def ragged(cls, lengths: Tensor | list[int], **rest: Any) -> Self:
        """The layout of packed rows of these lengths."""
        counts = torch.as_tensor(lengths, dtype=torch.int64)
        return cls(offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]), **rest)

    def but(self, **changes: Any) -> "Layout":
        """The same layout with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> "Layout":
        """The same layout with its tensors on a device."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return self.but(**{name: value.to(device) for name, value in tensors.items()})

    @property
    def packed(self) -> bool:
        """Are rows packed one after another?"""
        return self.offsets is not None

    @cached_property
    def lengths(self) -> list[int]:
        """Length of each packed row."""
        return self._offsets().diff().tolist()

    @cached_property
    def row_of(self) -> Tensor:
        """(tokens,) the row that each packed token belongs to."""
        offsets = self._offsets()
        return torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())

    @cached_property
    def groups(self) -> list[tuple[Tensor, Tensor]]:
        """Packed rows gathered by equal length: ``(rows (g,), tokens (g, n))`` for every length n > 0."""
        offsets = self._offsets()
        lengths = offsets.diff()
        found = []
        for n in sorted(set(self.lengths) - {0}):
            rows = (lengths == n).nonzero()[:, 0]
            found.append((rows, offsets[rows, None] + torch.arange(n, device=offsets.device)))
        return found

    @cached_property
    def in_order(self) -> bool:
        """Do packed rows, empty ones aside, lie by ascending length, so that each of ``groups`` is one run?"""
        return all(a <= b for a, b in pairwise(n for n in self.lengths if n))

    @cached_property
    def runs(self) -> list[int | None]:
        """The first token of each of ``groups`` that is one run of tokens; None for one that is not."""
        alone = [self.in_order or len(rows) == 1 for rows, _ in self.groups]
        return [int(tokens[0, 0]) if run else None for (_, tokens), run in zip(self.groups, alone, strict=True)]

    @cached_property
    def ungroup(self) -> Tensor:
        """(tokens,) index that brings the concatenated groups back into packed order."""
        return torch.cat([tokens.flatten() for _, tokens in self.groups]).argsort()

    def positions(self, x: Tensor) -> Tensor:
        """Position of each token in its row: (batch, n) or (n,) for equal rows, (tokens,) for packed ones."""
        if self.offsets is None:
            n = torch.arange(x.shape[1], device=x.device)
            return n if self.start is None else self.start[:, None] + n
        first = self.offsets[:-1] if self.start is None else self.offsets[:-1] - self.start
        return torch.arange(x.shape[0], device=x.device) - first[self.row_of]

    @property
    def ends(self) -> Tensor:
        """(rows,) index of the last token of each row of packed ones, none of which is empty."""
        return self._offsets()[1:] - 1

    def _offsets(self) -> Tensor:
        if self.offsets is None:
            raise VariorumError("layout", expected="packed rows (with offsets)", found="a batch of equal rows",
                                do="Make one with Layout.ragged or pack.")  # fmt: skip
        return self.offsets


def positions(x: Tensor, layout: Layout | None) -> Tensor:
    """Position of each token in its row (see :meth:`Layout.positions`)."""
    return (layout or Layout()).positions(x)


def pack(x: Tensor, mask: Tensor) -> tuple[Tensor, Layout]:
    """Turn a padded batch ``(batch, n, ...)`` with ``mask (batch, n)``, True = a real token, into the packed form."""
    if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
        raise VariorumError("mask", expected=f"a bool tensor of shape {tuple(x.shape[:2])}, True = a real token",
                            found=f"{mask.dtype} of shape {tuple(mask.shape)}", do="Pass mask.bool().")  # fmt: skip
    return x[mask], Layout.ragged(mask.sum(1))


def unpack(x: Tensor, mask: Tensor) -> Tensor:
    """Put packed tokens ``(tokens, ...)`` back into a padded batch ``(batch, n, ...)``; padding is zero."""
    padded = x.new_zeros(*mask.shape, *x.shape[1:])
    return padded.index_put((mask,), x)


def each_row(fn: Callable[..., Any], layout: Layout | None, *tensors: Tensor, state: State | None = None) -> Any:
    """Apply a function of equal rows to rows of any layout, without arithmetic on padding.

    ``fn`` maps tensors ``(batch, n, ...)`` to one ``(batch, n, ...)``; with a state it maps ``(*tensors, state)`` to
    ``(out, state)``. Packed rows are gathered by equal length, so that ``fn`` never sees a padded row.
    """
    extra = () if state is None else (state,)
    if layout is None or layout.offsets is None:
        return fn(*tensors, *extra)
    if not layout.groups:
        out = fn(*(t.reshape(0, 1, *t.shape[1:]) for t in tensors), *(s.rows(layout.offsets[:0]) for s in extra))
        return (out[0].flatten(0, 1), state) if extra else out.flatten(0, 1)
    parts = []
    for (rows, tokens), first in zip(layout.groups, layout.runs, strict=True):
        gathered = [_gather(t, tokens, first) for t in tensors]
        if state is None:
            out = fn(*gathered)
        else:
            out, after = fn(*gathered, state.rows(rows))
            state = state.put(rows, after)
        parts.append(out.flatten(0, 1))
    joined = _join(parts, layout)
    return joined if not extra else (joined, state)


def each_pair(
    fn: Callable[..., Tensor],
    layout: Layout | None,
    tensors: tuple[Tensor, ...],
    other_layout: Layout | None,
    others: tuple[Tensor, ...],
) -> Tensor:
    """Apply ``fn(*tensors, *others)`` row by row where row r of ``tensors`` meets row r of ``others``, lengths apart.

    ``fn`` sees ``(batch, n, ...)`` and ``(batch, m, ...)`` and returns ``(batch, n, ...)``; a row that meets an empty
    row is not given to ``fn`` and gets zeros.
    """
    if not (layout and layout.packed) and not (other_layout and other_layout.packed):
        return fn(*tensors, *others)
    (left, mine), (right, theirs) = _packed(layout, tensors), _packed(other_layout, others)
    if len(left.lengths) != len(right.lengths):
        raise VariorumError("memory", expected=f"{len(left.lengths)} rows, as many as the queries have",
                            found=f"{len(right.lengths)}", do="Pass one memory row for each query row.")  # fmt: skip
    pairs = list(zip(left.lengths, right.lengths, strict=True))
    out = None
    for n, m in sorted({p for p in pairs if min(p) > 0}):
        rows = torch.tensor([r for r, p in enumerate(pairs) if p == (n, m)], device=mine[0].device)
        q = left._offsets()[rows, None] + torch.arange(n, device=rows.device)
        kv = right._offsets()[rows, None] + torch.arange(m, device=rows.device)
        part = fn(*(t[q] for t in mine), *(t[kv] for t in theirs)).flatten(0, 1)
        out = part.new_zeros(mine[0].shape[0], *part.shape[1:]) if out is None else out
        out = out.index_copy(0, q.flatten(), part)
    if out is None:
        out = fn(*(t.reshape(-1, 1, *t.shape[1:])[:0] for t in (*mine, *theirs))).flatten(0, 1)
        out = out.new_zeros(mine[0].shape[0], *out.shape[1:])
    return out if layout and layout.packed else out.unflatten(0, tensors[0].shape[:2])


def _packed(layout: Layout | None, tensors: tuple[Tensor, ...]) -> tuple[Layout, tuple[Tensor, ...]]:
    """Tensors of any layout in the packed form."""
    if layout is not None and layout.packed:
        return layout, tensors
    batch, n = tensors[0].shape[:2]
    return Layout.ragged([n] * batch), tuple(t.flatten(0, 1) for t in tensors)


def pool_rows(fn: Callable[..., Tensor], layout: Layout | None, *tensors: Tensor) -> Tensor:
    """Apply ``fn``, from ``(batch, n, ...)`` to ``(batch, ...)``, to rows of any layout; an empty row gives zeros."""
    if layout is None or layout.offsets is None:
        return fn(*tensors)
    groups = zip(layout.groups, layout.runs, strict=True)
    parts = [(rows, fn(*(_gather(t, tokens, first) for t in tensors))) for (rows, tokens), first in groups]
    if not parts:
        shape = fn(*(t.new_zeros(1, 1, *t.shape[1:]) for t in tensors)).shape[1:]
        return tensors[0].new_zeros(len(layout.lengths), *shape)
    out = parts[0][1].new_zeros(len(layout.lengths), *parts[0][1].shape[1:])
    for rows, pooled in parts:
        out = out.index_copy(0, rows, pooled)
    return out


def reform_rows(fn: Callable[..., Tensor], layout: Layout | None, *tensors: Tensor) -> tuple[Tensor, Layout | None]:
    """Apply ``fn``, from ``(batch, n, ...)`` to ``(batch, m, ...)`` with m by n alone, to rows of any layout.

    The new tokens, and how they lie: packed rows have new lengths, an empty one stays empty; grid, coordinates,
    segments and starts, which were those of the old tokens, are gone.
    """
    if layout is None or layout.offsets is None:
        return fn(*tensors), None
    groups = zip(layout.groups, layout.runs, strict=True)
    parts = [(rows, fn(*(_gather(t, tokens, first) for t in tensors))) for (rows, tokens), first in groups]
    if not parts:
        return fn(*(t.new_zeros(1, 1, *t.shape[1:]) for t in tensors)).flatten(0, 1)[:0], Layout(offsets=layout.offsets)
    lengths = layout.offsets.new_zeros(len(layout.offsets) - 1)
    for rows, part in parts:
        lengths = lengths.index_fill(0, rows, part.shape[1])
    new = Layout.ragged(lengths)
    out = parts[0][1].new_zeros(int(lengths.sum()), *parts[0][1].shape[2:])
    for rows, part in parts:
        tokens = new._offsets()[rows, None] + torch.arange(part.shape[1], device=rows.device)
        out = out.index_copy(0, tokens.flatten(), part.flatten(0, 1))
    return out, new


def _gather(t: Tensor, tokens: Tensor, first: int | None) -> Tensor:
    """``t[tokens]``, as a view where the tokens are one run from ``first`` on."""
    return t[tokens] if first is None else t[first : first + tokens.numel()].unflatten(0, tokens.shape)


def _join(parts: list[Tensor], layout: Layout) -> Tensor:
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    return joined if layout.in_order else joined[layout.ungroup]
