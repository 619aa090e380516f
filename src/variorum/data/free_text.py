"""Columns of free text: told apart from names and categories, cleaned, and what repeats itself."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LETTERS = 10_000
"""Of a value that are looked at to count its words."""
FEWEST_WORDS = 3.0
"""Words that values of a column of free text have on average; names and codes have fewer."""
FEWEST_DIFFERENT = 0.5
"""Share of the values of a column of free text that are different from all before them."""
SOME_DIFFERENT = 0.1
"""The same of a column that somebody says is one."""


def is_free_text(values: "pd.Series", *, fewest: float = FEWEST_WORDS, different: float = FEWEST_DIFFERENT) -> bool:
    """Is a column one of free text: strings of ``fewest`` words or more on average, this share of them ``different``?

    Writing without spaces, such as Chinese, counts a word for every four letters.
    """
    import pandas as pd

    known = values.dropna()
    if isinstance(known.dtype, pd.CategoricalDtype):
        known = known.astype(object)
    if pd.api.types.is_numeric_dtype(known) or not len(known) or not known.map(lambda v: isinstance(v, str)).all():
        return False
    texts = known.str.strip()
    texts = texts[texts != ""]
    if not len(texts) or texts.nunique() < max(2.0, different * len(texts)):
        return False
    return float(np.mean([_words(text) for text in texts.str[:LETTERS]])) >= fewest


def _words(text: str) -> float:
    parts = text.split()
    wide = sum(ord(letter) > 0x2E7F for letter in text)
    return len(parts) + wide / 4


def cleaned(value: Any) -> str:
    """A value as text that can be encoded: stripped; missing ones are empty, lone surrogates become U+FFFD."""
    if not isinstance(value, str):
        return "" if value is None or value != value else str(value).strip()
    return value.encode("utf-8", "replace").decode("utf-8").strip() if not value.isascii() else value.strip()


def texts_of(values: "pd.Series") -> np.ndarray:
    """The texts of a column, (rows,) of str; see :func:`cleaned`."""
    return np.array([cleaned(value) for value in values.astype(object)], dtype=object)
