"""Rows in memory, handed over by whoever calls from Python: a DataFrame whose columns can be asked for by name."""

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.data.decode import REPLACED, whole
from variorum.data.delimited import check_names

if TYPE_CHECKING:
    import pandas as pd


def to_learn_from(frame: "pd.DataFrame") -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """The rows with texts as names, and a sentence for each repair. Repeated names raise :class:`VariorumError`."""
    frame = _named(frame, [str(name) for name in frame.columns])
    check_names(list(frame.columns), "columns")
    return _mended(frame, list(frame.columns))


def to_answer(frame: "pd.DataFrame", columns: Sequence[str]) -> "pd.DataFrame":
    """The rows with the columns that a model was trained on, in whatever order and beside whatever others.

    One that is lacking, or there twice, raises :class:`VariorumError`; repairs are Python warnings.
    """
    given = [str(name) for name in frame.columns]
    frame = _named(frame, [name if name in columns else name.strip() for name in given])
    check_trained_on(frame, columns)
    frame, said = _mended(frame, columns)
    say(said)
    return frame


def check_trained_on(frame: "pd.DataFrame", columns: Sequence[str]) -> None:
    """Raise :class:`VariorumError` if rows lack a column that a model was trained on, or have it twice."""
    names = list(frame.columns)
    for name in columns:
        if name not in names:
            raise VariorumError("table", expected=f"the column {name!r}, which the model was trained on",
                                found="none of this name", do=nearest(name, map(str, names)))  # fmt: skip
    check_names([name for name in names if name in columns], "columns")


def say(sentences: Iterable[str]) -> None:
    """Warn a user of what was repaired in rows that a model is to answer."""
    for sentence in sentences:
        warnings.warn(sentence, UserWarning, stacklevel=4)


def _named(frame: "pd.DataFrame", names: list[str]) -> "pd.DataFrame":
    return frame if names == list(frame.columns) else frame.set_axis(names, axis=1)


def _mended(frame: "pd.DataFrame", columns: Sequence[str]) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """Texts without half characters, which no file can hold; only columns of objects can have some."""
    notes, changed = [], {}
    for name in columns:
        values = frame[name]
        if values.dtype == object:
            mended = values.map(lambda value: whole(value) if isinstance(value, str) else value)
            halves = [isinstance(a, str) and a != b for a, b in zip(values, mended, strict=True)]
            if any(halves):
                notes.append(f"Column {name!r}: half characters (lone surrogates) in {sum(halves)} values stand as "
                             f"{REPLACED!r}.")  # fmt: skip
                changed[name] = mended
    return (frame.assign(**changed) if changed else frame), tuple(notes)
