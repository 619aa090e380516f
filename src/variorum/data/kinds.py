"""What kind of column a column of a table is; the choice is said where it costs something."""

from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.core import Spec
from variorum.data.columns import (
    MOST_CATEGORIES,
    CategoryColumn,
    Column,
    DateColumn,
    NumberColumn,
    date_format,
    numbers,
    reads_as_numbers,
    words,
)

if TYPE_CHECKING:
    import pandas as pd

MANY = 30
"""From this many different words on, a column may be one of texts or names rather than of categories."""


def choose(values: "pd.Series") -> tuple[Spec[Column] | None, str | None]:
    """The column fitted to training rows, None if nothing can be learned from it; and a note if something is lost."""
    import pandas as pd

    name = repr(values.name)
    if pd.api.types.is_datetime64_any_dtype(values):
        return _varied(DateColumn, values, values.nunique())
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return _number(values, None)
    if not values.notna().any():
        return None, f"Column {name} is left out: it is missing in every row."
    if not values.dropna().map(pd.api.types.is_scalar).all():
        return None, f"Column {name} is left out: it holds lists or other nested values."
    if pd.api.types.is_bool_dtype(values):
        return _varied(CategoryColumn, values, values.nunique())
    if reads_as_numbers(values):
        return _number(values, f"Column {name} is read as numbers; words in it as missing values.")
    if date_format(values) is not None:
        return _varied(DateColumn, values, values.nunique())
    counts = words(values).value_counts()
    if len(counts) > MANY and (counts == 1).sum() > 0.5 * len(counts):
        return (
            None,
            f"Column {name} is left out: {len(counts)} different texts in {len(values)} rows, most of them once.",
        )
    column, note = _varied(CategoryColumn, values, len(counts))
    if len(counts) > MOST_CATEGORIES:
        note = f"Column {name} has {len(counts)} categories: the {MOST_CATEGORIES} most frequent are told apart."
    return column, note


def _number(values: "pd.Series", note: str | None) -> tuple[Spec[Column] | None, str | None]:
    name, known = repr(values.name), numbers(values)
    known = known[~np.isnan(known)]
    if not len(known):
        return None, f"Column {name} is left out: it is missing in every row."
    if _counts_rows(known, len(values)):
        return None, f"Column {name} is left out: it only numbers the rows."
    column, constant = _varied(NumberColumn, values, len(np.unique(known)))
    if values.dtype.kind == "f" and (endless := int(np.isinf(values.to_numpy()).sum())):
        note = f"Column {name} has {endless} infinite values in the training rows, read as missing."
    return column, constant or note


def _varied(kind: Any, values: "pd.Series", different: int) -> tuple[Spec[Column] | None, str | None]:
    if different < 2 and not (different and values.isna().any()):
        return None, f"Column {values.name!r} is left out: it is the same in every training row."
    return kind.fit(values), None


def _counts_rows(known: np.ndarray, rows: int) -> bool:
    """Whole numbers, each once and in rising order over nearly unbroken ground: the number of the row in the file."""
    if len(known) < rows or rows < 20 or not (known == np.round(known)).all():
        return False
    steps = np.diff(known)
    return bool((steps > 0).all()) and known[-1] - known[0] < 2.5 * rows
