"""Rows and columns from a file, or of a bundled set by its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from variorum.data.frames import read_table
from variorum.data.sets.bundled import find_set

if TYPE_CHECKING:
    import pandas as pd


def opened(source: str | Path, reads: str, *, as_text: Sequence[str] = ()) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """The rows of a file, or of the bundled set of this name and kind, and notes on them. as_text: of a file, see
    :func:`~variorum.data.frames.read_table`.
    """
    bundled = find_set(source, reads)
    return (bundled.read(), (bundled.says,)) if bundled else read_table(source, as_text=as_text)


def usual(source: str | Path, reads: str, name: str) -> str | None:
    """What is asked of the bundled set of this name and kind unless the user says otherwise; None for a file."""
    bundled = find_set(source, reads)
    return bundled.asks.get(name) if bundled else None
