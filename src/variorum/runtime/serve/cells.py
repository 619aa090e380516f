"""How large a table becomes when it is opened, told before it is: every column named in a row is there in all rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from variorum.data.decode import decode
from variorum.data.delimited import Delimited, text_of
from variorum.data.frames import DELIMITED
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.refusal import Refusal

SERIES, LINES = (".ts",), (".txt",)
"""Suffixes of text files, beside those of tables, that are taken: series, and texts."""


def check_rows(rows: Sequence[Mapping[str, Any]], limits: Limits) -> None:
    """Raise a :class:`Refusal` for objects that would make too large a table."""
    columns = len({name for row in rows for name in row})
    _check_columns(columns, limits)
    _check(len(rows) * columns, limits)


def check_file(content: bytes, name: str, suffix: str, limits: Limits) -> None:
    """Raise a :class:`Refusal` for a text file of too many cells; VariorumError for one that is no text."""
    text, _ = decode(content, name)
    if suffix in DELIMITED:
        found = Delimited.of(text_of(text), name, DELIMITED[suffix])
        _check_columns(len(found.names), limits)
        _check(sum(1 for _ in found.records()) * len(found.names), limits)
    elif suffix in SERIES:
        _check(sum(map(_of_series, text.splitlines())), limits)
    else:
        _check(text.count("\n") + text.count("\r"), limits)


def _of_series(line: str) -> int:
    """Channels, joined by colons, are all as long as the longest."""
    channels = line.split(":")
    return len(channels) * max(channel.count(",") + 1 for channel in channels)


def _check_columns(columns: int, limits: Limits) -> None:
    """A column takes as long to open as thousands of rows, whether the model knows it or not."""
    if columns > limits.columns:
        raise Refusal(413, "too_many_columns", f"This has {columns:,} columns, at most {limits.columns:,} are taken. "
                      "Send only those that are needed.")  # fmt: skip


def _check(cells: int, limits: Limits) -> None:
    if cells > limits.cells:
        raise Refusal(413, "too_many_cells", f"Opened, this has {cells:,} cells, at most {limits.cells:,} are taken at "
                      "a time. Send it in parts, and only the columns that are needed.")  # fmt: skip
