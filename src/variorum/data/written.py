"""How numbers are written in words: with a decimal point or comma, and with or without marks between thousands."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SPACE = "[ \u00a0\u2009\u202f'\u2019]"
"""Spaces of several widths and apostrophes stand between thousands; they never mean anything else within a number."""
_END = r"(?:[eE][+-]?\d+)?"
_SIGN = "[+\u2212-]?"
GROUPS_OF_COMMAS = rf"{_SIGN}(?:[1-9]\d{{0,2}}(?:(?:,|{_SPACE})\d{{3}})+|\d+)(?:\.\d*)?{_END}"
DECIMAL_COMMA = rf"{_SIGN}(?:[1-9]\d{{0,2}}(?:(?:\.|{_SPACE})\d{{3}})+|\d*)(?:,\d+)?{_END}"
GROUPS_OF_POINTS = rf"{_SIGN}(?:[1-9]\d{{0,2}}(?:\.\d{{3}})+|\d{{1,3}})"


class Written(StrEnum):
    """How the numbers of a column are written."""

    PLAIN = "1234.5"
    GROUPED = "1,234.5"
    COMMA = "1.234,5"


def how_written(texts: "pd.Series") -> Written | None:
    """The first way of writing that reads every text (stripped, none missing); None: these are no numbers.

    Only three digits after every comma are read as thousands: a decimal comma would now and then be followed by others.
    """
    import pandas as pd

    if not len(texts):
        return None
    if pd.to_numeric(texts, errors="coerce").notna().all():
        return Written.PLAIN
    for written, pattern in ((Written.GROUPED, GROUPS_OF_COMMAS), (Written.COMMA, DECIMAL_COMMA)):
        if texts.str.fullmatch(pattern).all() and parsed(texts, written).notna().all():
            return written
    return None


def parsed(texts: "pd.Series", written: Written) -> "pd.Series":
    """Texts as numbers; what is none is NaN."""
    import pandas as pd

    if written is not Written.PLAIN:
        right = texts.str.fullmatch(DECIMAL_COMMA if written is Written.COMMA else GROUPS_OF_COMMAS).fillna(False)
        texts = texts.where(right.astype(bool)).str.replace(_SPACE, "", regex=True)
        texts = texts.str.replace("\u2212", "-", regex=False)
        if written is Written.COMMA:
            texts = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        else:
            texts = texts.str.replace(",", "", regex=False)
    return pd.to_numeric(texts, errors="coerce")


def groups_of_points(texts: "pd.Series") -> bool:
    """Are these whole numbers with points between the thousands, which also read as fractions? One has three groups, or
    it takes another column of the same file that has decimal commas to tell.
    """
    return len(texts) > 0 and bool(
        texts.str.fullmatch(GROUPS_OF_POINTS).all() and texts.str.contains(".", regex=False).any()
    )
