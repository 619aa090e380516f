"""Some of a batch's rows as a batch of their own."""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from variorum.core import Layout, VariorumError
from variorum.data.task import Batch

MAIN = "layout"
"""The name of the layout of a batch's main input, to whose tokens the answers belong."""
BESIDE = "_layout"
"""The layout of another input is named after it: ``source_layout``."""
LENGTHS = "lengths"
"""Packed targets that are no tokens of an input have their rows' lengths beside them under this name."""


def count_rows(batch: Batch) -> int:
    """How many rows a batch has."""
    for value in batch.inputs.values():
        if isinstance(value, Layout) and value.packed:
            return len(value.lengths)
    return next(len(value) for value in batch.inputs.values() if isinstance(value, Tensor))


def take_rows(batch: Batch, first: int, end: int) -> Batch:
    """The rows ``first`` <= r < ``end`` of a batch, inputs and targets.

    A tensor holds either something for each row, or something for each packed token: of the layout named after it
    (``source_layout`` for ``source``), of ``lengths`` beside it, of the batch's ``layout``, or of another one. Which is
    told by its first dimension. Raises :class:`VariorumError` for a tensor of which that cannot be told.
    """
    cut = _Cut(batch, first, end)
    return Batch(dict(cut.each(batch.inputs)), cut.any("targets", batch.targets, {}))


class _Cut:
    """The rows from ``first`` to ``end`` of one batch."""

    def __init__(self, batch: Batch, first: int, end: int) -> None:
        self.first, self.end, self.rows = first, end, count_rows(batch)
        named = {name: value for name, value in batch.inputs.items() if isinstance(value, Layout) and value.packed}
        self.layouts = [named[name] for name in sorted(named, key=lambda name: name != MAIN)]

    def each(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: self.any(name, value, values) for name, value in values.items()}

    def any(self, name: str, value: Any, beside: Mapping[str, Any]) -> Any:
        """A value of any nesting; ``beside`` are those that it stands among, by name."""
        if isinstance(value, Layout):
            return self.layout(value)
        if isinstance(value, Tensor):
            return value if value.dim() == 0 else self.tensor(name, value, beside)
        if isinstance(value, tuple) and type(value) is not tuple:  # a NamedTuple
            return type(value)(**self.each(cast(Any, value)._asdict()))
        if isinstance(value, tuple | list):
            return type(value)(self.any(name, one, {}) for one in value)
        return dict(self.each(value)) if isinstance(value, dict) else value

    def tensor(self, name: str, value: Tensor, beside: Mapping[str, Any]) -> Tensor:
        own = beside.get(name + BESIDE)
        if isinstance(own, Layout) and own.packed:
            return value[self.tokens(own)]
        lengths = beside.get(LENGTHS)
        if isinstance(lengths, Tensor) and name != LENGTHS and len(value) == int(lengths.sum()):
            return value[self.tokens(Layout.ragged(lengths))]
        packed = next((layout for layout in self.layouts if sum(layout.lengths) == len(value)), None)
        by_row = len(value) == self.rows
        if name == LENGTHS or (by_row and (packed is None or set(packed.lengths) == {1})):
            return value[self.first : self.end]
        if packed is None or by_row:
            tokens = [sum(layout.lengths) for layout in self.layouts]
            raise VariorumError(f"batch, {name}", expected=f"something for each of its {self.rows} rows"
                                + (f", or for each of its tokens ({tokens})" if tokens else ""),
                                found=f"a tensor of shape {tuple(value.shape)}, which may be either"
                                if by_row else f"a tensor of shape {tuple(value.shape)}",
                                do="Train it on one process: its batches cannot be divided by rows.")  # fmt: skip
        return value[self.tokens(packed)]

    def tokens(self, layout: Layout) -> slice:
        """The packed tokens of the rows."""
        before, mine = layout.lengths[: self.first], layout.lengths[self.first : self.end]
        return slice(sum(before), sum(before) + sum(mine))

    def layout(self, layout: Layout) -> Layout:
        tokens = self.tokens(layout) if layout.packed else slice(self.first, self.end)
        start = layout.start[self.first : self.end] if layout.start is not None else None
        some = {name: None if value is None else value[tokens]
                for name, value in (("coords", layout.coords), ("segments", layout.segments))}  # fmt: skip
        if layout.offsets is None:
            return layout.but(start=start, **some)
        cut = layout.offsets[self.first : self.end + 1]
        return layout.but(offsets=cut - cut[0], start=start, **some)
