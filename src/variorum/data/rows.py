"""The rows of a table, in memory or on disk: a column at a time to learn from, a piece at a time to encode."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.dataset import Dataset

PIECE = 65_536
"""Rows that are read at a time."""
MISSING = "missing"
"""What stands for the type of a piece of a column in which nothing is known."""


class Rows(ABC):
    """Rows with named columns."""

    names: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def column(self, name: str) -> "pd.Series":
        """All values of a column, numbered from 0."""

    @abstractmethod
    def type(self, name: str) -> Any:
        """The type of a column in pandas."""

    @abstractmethod
    def pieces(self, size: int) -> "Iterator[pd.DataFrame]":
        """The rows in order, up to ``size`` at a time, each column of the type that it has as a whole."""

    @abstractmethod
    def kept(self, mask: np.ndarray) -> "Rows":
        """Those of the rows that the mask (rows,) says."""


class InMemory(Rows):
    """The rows of a DataFrame."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        self.frame = frame
        self.names = tuple(frame.columns)

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str) -> "pd.Series":
        return self.frame[name].reset_index(drop=True)

    def type(self, name: str) -> Any:
        return self.frame[name].dtype

    def pieces(self, size: int) -> "Iterator[pd.DataFrame]":
        return (self.frame.iloc[start : start + size] for start in range(0, len(self.frame), size))

    def kept(self, mask: np.ndarray) -> "InMemory":
        return InMemory(self.frame[mask])


class OnDisk(Rows):
    """The rows of Parquet or Arrow files. One column, or one piece, is in memory at a time.

    mask: the rows that are kept; None: all.     folder: what holds the files and goes with these rows.
    """

    def __init__(self, data: "Dataset", *, mask: np.ndarray | None = None, folder: Any = None) -> None:
        self.data, self.mask, self.folder = data, mask, folder
        self._names = {str(name).strip(): name for name in data.schema.names}
        self.names = tuple(self._names)
        self._types: dict[str, Any] = {}

    def __len__(self) -> int:
        return self.data.count_rows() if self.mask is None else int(self.mask.sum())

    def column(self, name: str) -> "pd.Series":
        values = as_frame(self.data.to_table(columns=[self._names[name]]))[name]
        self._types[name] = values.dtype
        return values if self.mask is None else values[self.mask].reset_index(drop=True)

    def type(self, name: str) -> Any:
        return self._types.get(name) or self.column(name).dtype

    def pieces(self, size: int) -> "Iterator[pd.DataFrame]":
        import pyarrow as pa

        types = {name: self.type(name) for name in self.names}
        start = 0
        for batch in self.data.to_batches(batch_size=size):
            if batch.num_rows:
                piece = as_frame(pa.Table.from_batches([batch]))
                # Integers with gaps are floats: a piece without gaps must not be read otherwise than the whole.
                changed = {name: types[name] for name in self.names if piece[name].dtype != types[name]}
                piece = piece.astype(changed) if changed else piece
                kept = slice(None) if self.mask is None else self.mask[start : start + len(piece)]
                start += len(piece)
                yield piece[kept]

    def kept(self, mask: np.ndarray) -> "OnDisk":
        both = np.zeros(self.data.count_rows(), bool)
        both[np.arange(len(both)) if self.mask is None else np.flatnonzero(self.mask)] = mask
        return OnDisk(self.data, mask=both, folder=self.folder)


def as_frame(table: "pa.Table") -> "pd.DataFrame":
    """An Arrow table as a DataFrame. An index that pandas stored with a name is a column like the others."""
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):  # else Python's Decimals, which nothing takes for numbers
            table = table.set_column(i, field.name, table.column(i).cast(pa.float64()))
    frame = table.replace_schema_metadata(None).to_pandas()
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame


def spilled(pieces: "Callable[[dict[str, str]], Iterator[pd.DataFrame]]", as_text: Sequence[str]) -> OnDisk:
    """The rows that come in ``pieces``, written to a temporary Parquet file with the types that they have as a whole.

    pieces: starts anew each time it is called, which is twice: for the type of each column, and for its values. What it
    is given no type for has that of the piece.     as_text: columns that are text, whatever they look like.
    """
    import pyarrow as pa
    from pyarrow import dataset, parquet

    forced = dict.fromkeys(as_text, "str")
    types: dict[str, set[str]] = {}
    for piece in pieces(forced):
        for name in piece.columns:
            seen = str(piece[name].dtype) if piece[name].notna().any() else MISSING
            types.setdefault(name, set()).add(seen)
    whole = {name: _joined(seen) for name, seen in types.items()} | forced
    folder = TemporaryDirectory(prefix="variorum-")  # removed with the rows, which hold it
    path, writer = Path(folder.name) / "rows.parquet", None
    try:
        for piece in pieces(whole):
            table = pa.Table.from_pandas(piece, preserve_index=False)
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()
    return OnDisk(dataset.dataset(path, format="parquet"), folder=folder)


def _joined(types: set[str]) -> str:
    """The type of a column whose pieces have these."""
    seen = types - {MISSING}
    if seen and seen <= {"bool", "object"}:  # truth values with gaps
        return "boolean"
    if len(types) == 1 and seen:
        return seen.pop()
    return "float64" if seen <= {"int64", "float64"} else "str"
