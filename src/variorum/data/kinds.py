"""What kind of column a column of a table is; the choice is said where it costs something."""

from functools import partial
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
    words,
    written_as,
)
from variorum.data.text_column import Term, TextColumn
from variorum.data.written import Written

if TYPE_CHECKING:
    import pandas as pd

MANY = 30
"""From this many different words on, a column may be one of texts or names rather than of categories."""


def choose(values: "pd.Series") -> tuple[Spec[Column] | None, str | None]:
    """The column fitted to training rows, None if nothing can be learned from it; and a note if something is lost."""
    import pandas as pd

    name = repr(values.name)
    if pd.api.types.is_datetime64_any_dtype(values):
        return _varied(DateColumn.fit, values, values.nunique())
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return _number(values, None)
    if not values.notna().any():
        return None, f"Column {name} is left out: it is missing in every row."
    if not values.dropna().map(pd.api.types.is_scalar).all():
        return None, f"Column {name} is left out: it holds lists or other nested values."
    if values.dropna().map(lambda value: isinstance(value, bytes)).any():
        return None, f"Column {name} is left out: it holds raw bytes."
    if pd.api.types.is_bool_dtype(values):
        return _varied(CategoryColumn.fit, values, values.nunique())
    if written := written_as(values):
        return _number(values, _SAYS[written].format(name), written)
    if date_format(values) is not None:
        return _varied(DateColumn.fit, values, values.nunique())
    counts = words(values).value_counts()
    if len(counts) > MANY and ((counts == 1).sum() > 0.5 * len(counts) or _sentences(counts.index)):
        text = TextColumn.fit(values)
        if text is None:
            return (
                None,
                f"Column {name} is left out: {len(counts)} different texts in {len(values)} rows, no word in common.",
            )
        found = f"{len(text['terms'])} {_TERMS[text['term']]}"
        return text, f"Column {name} is free text: {len(text['directions'])} numbers are made of {found} in it."
    column, note = _varied(CategoryColumn.fit, values, len(counts))
    if len(counts) > MOST_CATEGORIES:
        note = f"Column {name} has {len(counts)} categories: the {MOST_CATEGORIES} most frequent are told apart."
    return column, note


_SAYS = {
    Written.PLAIN: "Column {} is read as numbers; words in it as missing values.",
    Written.GROUPED: "Column {} is read as numbers with commas or spaces between thousands.",
    Written.COMMA: "Column {} is read as numbers with a decimal comma.",
}
_TERMS = {Term.WORD: "words", Term.LETTERS: "groups of letters"}


def _number(
    values: "pd.Series", note: str | None, written: Written = Written.PLAIN
) -> tuple[Spec[Column] | None, str | None]:
    name, known = repr(values.name), numbers(values, written)
    known = known[~np.isnan(known)]
    if not len(known):
        return None, f"Column {name} is left out: it is missing in every row."
    if len(known) == len(values) and numbers_rows(known) and ((np.diff(known) > 0).all() or _unnamed(values.name)):
        return None, f"Column {name} is left out: it only numbers the rows."
    constant: str | None
    column, constant = _varied(partial(NumberColumn.fit, written=written), values, len(np.unique(known)))
    if len(known) == len(values) and numbers_rows(known):
        note = f"Column {name} is another whole number in every row, like the number of a row: remove it if it is one."
    if values.dtype.kind == "f" and (endless := int(np.isinf(values.to_numpy()).sum())):
        note = f"Column {name} has {endless} infinite values in the training rows, read as missing."
    return column, constant or note


def _varied(fit: Any, values: "pd.Series", different: int) -> tuple[Spec[Column] | None, str | None]:
    if different < 2 and not (different and values.isna().any()):
        return None, f"Column {values.name!r} is left out: it is the same in every training row."
    return fit(values), None


def _sentences(texts: Any) -> bool:
    """Do texts have five words or more in the middle?"""
    return float(np.median([len(str(text).split()) for text in texts])) >= 5


def numbers_rows(values: np.ndarray) -> bool:
    """Are these whole numbers, none missing, each once, over nearly unbroken ground? By chance some would be equal."""
    if len(values) < 20 or not (values == np.round(values)).all():
        return False
    return bool(np.ptp(values) < 2.5 * len(values)) and len(np.unique(values)) == len(values)


def _unnamed(name: Any) -> bool:
    """Has a file no name for the column, as where pandas stored its index?"""
    return str(name).startswith(("Unnamed: ", "__index_level_"))
