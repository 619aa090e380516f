"""Columns of a table as numbers: a number, a category or a date, each remembered by what it saw in training."""

import math
from abc import abstractmethod
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.core import Registered, Spec
from variorum.data.written import Written, how_written, parsed

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 1e4
"""Standardised numbers are cut here: a model in float32 stays finite however far off a new value is."""
MISSING = frozenset({"", "?", "-", "--", ".", "na", "n/a", "nan", "null", "none", "missing", "unknown"})
"""Words that stand for a missing value in a column of numbers or dates."""
DATES = (
    "ISO8601",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%d %b %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%m/%d/%Y %H:%M",
)
WRITTEN = r"\d{4}[-/]\d|\d{1,2}[/.]\d{1,2}[/.]\d{4}|\d{1,2} [A-Za-z]{3} \d{4}|[A-Za-z]{3} \d{1,2},? \d{4}"
"""How they begin: pandas also takes -1.5 for a date."""
MOST_CATEGORIES = 255


class Column(Registered, abstract=True):
    """One column of a table, made of one series of raw values into float32 columns."""

    kind: ClassVar[str] = "column"
    name: str
    as_text: bool = False
    """Must its values be read from a text file as they are written, even where they look like numbers?"""

    @property
    @abstractmethod
    def cardinalities(self) -> tuple[int, ...]:
        """For each column that comes out: 0 for a number, else how many codes there are."""

    @abstractmethod
    def encode(self, values: "pd.Series") -> np.ndarray:
        """Raw values (rows,) -> (rows, columns) float32; NaN is a missing number."""

    @abstractmethod
    def strange(self, values: "pd.Series") -> list[str]:
        """A sentence for each kind of raw values that training did not know, and what is made of them."""

    @abstractmethod
    def said(self, encoded: np.ndarray) -> list[str | None]:
        """What :meth:`encode` made, as people read it, as far as that can be told; None for what is not known."""


class NumberColumn(Column):
    """(x - mean) / scale, NaN where x is missing, no number or infinite. written: how texts write their numbers."""

    examples = ({"name": "height", "mean": 1.7, "scale": 0.1},)

    def __init__(self, name: str, *, mean: float, scale: float, written: Written = Written.PLAIN) -> None:
        self.name, self.mean, self.scale, self.written = name, mean, scale, written
        self.as_text = written is not Written.PLAIN

    @classmethod
    def fit(cls, values: "pd.Series", *, written: Written = Written.PLAIN) -> Spec["NumberColumn"]:
        """Mean and standard deviation of the finite values."""
        mean, scale = moments(numbers(values, written))
        return cls.spec(name=str(values.name), mean=mean, scale=scale, written=written)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return (0,)

    def encode(self, values: "pd.Series") -> np.ndarray:
        return standardise(numbers(values, self.written), self.mean, self.scale)[:, None]

    def strange(self, values: "pd.Series") -> list[str]:
        read = numbers(values, self.written)
        with np.errstate(over="ignore"):
            far = values[np.abs(read - self.mean) > LARGEST * self.scale]
        why = f"are farther than {LARGEST:,.0f} deviations from the mean of training, and cut there"
        lost = _lost(values, read)
        return [*_sentence(self.name, lost, "are no finite numbers, and read as missing"),
                *_sentence(self.name, far, why)]  # fmt: skip

    def said(self, encoded: np.ndarray) -> list[str | None]:
        values = encoded[:, 0].astype(np.float64) * self.scale + self.mean
        # float32 keeps about seven digits of the standardised value: more than five would be made up.
        return [None if math.isnan(value) else f"{_near_zero(value, self.scale):.5g}" for value in values]


class CategoryColumn(Column):
    """Code i + 1 of the category that stands at i; 0 for a missing value and for one not among them."""

    examples = ({"name": "colour", "categories": ("blue", "red")},)

    def __init__(self, name: str, *, categories: tuple[str, ...]) -> None:
        self.name, self.categories = name, categories
        self._codes = {category: code for code, category in enumerate(categories, start=1)}

    @classmethod
    def fit(cls, values: "pd.Series") -> Spec["CategoryColumn"]:
        """The categories seen at least twice, at most 255, the most frequent first kept."""
        counts = words(values).value_counts()
        kept = sorted(counts[counts > 1].index[:MOST_CATEGORIES])
        return cls.spec(name=str(values.name), categories=tuple(kept))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return (len(self.categories) + 1,)

    def encode(self, values: "pd.Series") -> np.ndarray:
        return words(values).map(self._codes).fillna(0).to_numpy(np.float32)[:, None]

    def strange(self, values: "pd.Series") -> list[str]:
        read = words(values)
        new = read[read.notna() & ~read.isin(self.categories)]
        return _sentence(self.name, new, "are none of the categories that the model learned, and read as unknown")

    def said(self, encoded: np.ndarray) -> list[str | None]:
        return [self.categories[int(code) - 1] if code else None for code in encoded[:, 0]]


class DateColumn(Column):
    """A date as five numbers: time (standardised), and sine and cosine of the time of year and of the week."""

    examples = ({"name": "day", "format": "ISO8601", "mean": 1.6e9, "scale": 3e7},)

    def __init__(self, name: str, *, format: str, mean: float, scale: float) -> None:
        self.name, self.format, self.mean, self.scale = name, format, mean, scale

    @classmethod
    def fit(cls, values: "pd.Series") -> Spec["DateColumn"]:
        """The first of the known ways of writing dates that reads all values; the mean and deviation of the time."""
        written = date_format(values)
        assert written is not None, "fit is called for columns of dates only"
        mean, scale = moments(_seconds(values, written))
        return cls.spec(name=str(values.name), format=written, mean=mean, scale=scale)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return (0,) * 5

    def encode(self, values: "pd.Series") -> np.ndarray:
        seconds = _seconds(values, self.format)
        day = 86400.0
        # Day 0 of the epoch was a Thursday: the phase of the week is arbitrary but the same everywhere.
        turns = [2 * math.pi * seconds / (365.2425 * day), 2 * math.pi * seconds / (7 * day)]
        waves = [wave(turn) for turn in turns for wave in (np.sin, np.cos)]
        return np.stack([standardise(seconds, self.mean, self.scale), *waves], axis=1).astype(np.float32)

    def strange(self, values: "pd.Series") -> list[str]:
        why = f"are no dates written as in training ({self.format}), and read as missing"
        return _sentence(self.name, _lost(values, _seconds(values, self.format)), why)

    def said(self, encoded: np.ndarray) -> list[str | None]:
        # A little is added, as the rounding of float32 could make midnight the day before.
        seconds = encoded[:, 0].astype(np.float64) * self.scale + self.mean + 1e-6 * self.scale
        return [None if math.isnan(value) else _day(value) for value in seconds]


def _near_zero(value: float, scale: float) -> float:
    """0 for what is 0 but for the rounding of float32."""
    return 0.0 if abs(value) < 1e-6 * scale else value


def _day(seconds: float) -> str:
    """The date of seconds since 1970; beyond the calendar, the year alone."""
    year = 1970 + seconds / (365.2425 * 86400)
    if not 1 < year < 9999:
        return f"year {year:.0f}"
    return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).strftime("%Y-%m-%d")


def _lost(values: "pd.Series", read: np.ndarray) -> "pd.Series":
    """The values that were read as NaN although they do not say that they are missing."""
    lost = values[np.isnan(read) & values.notna().to_numpy(bool)]
    return lost[[not (isinstance(value, str) and value.strip().lower() in MISSING) for value in lost]]


def _sentence(name: str, values: "pd.Series", why: str) -> list[str]:
    """None, or one that shows the first of the values, each once."""
    different = list(dict.fromkeys(str(value)[:40] for value in values))
    shown = ", ".join(map(repr, different[:5])) + (", ..." if len(different) > 5 else "")
    return [f"Column {name!r}: {len(values)} values {why}: {shown}."] if len(values) else []


def numbers(values: "pd.Series", written: Written = Written.PLAIN) -> np.ndarray:
    """Values as float64; what is no finite number, or a text that is written otherwise, is NaN."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values):
        values = parsed(as_texts(values), written)
    out = values.to_numpy(np.float64, na_value=math.nan)
    return np.where(np.isfinite(out), out, math.nan)


def as_texts(values: "pd.Series") -> "pd.Series":
    """Values as texts, stripped; missing ones stay so. Bytes, which need be no text, stand as Python writes them."""
    if values.dtype == object:
        values = values.map(lambda value: str(value) if isinstance(value, bytes) else value)
    return values.astype("string").str.strip()


def words(values: "pd.Series") -> "pd.Series":
    """Values as text, whole numbers without a decimal point, so that a column reads alike with and without gaps."""
    import pandas as pd

    if values.dtype == object:  # it may hold lists, which have no hash
        values = values.map(lambda value: value if pd.api.types.is_scalar(value) else str(value))
    codes, different = pd.factorize(values)
    texts = np.array([*map(word, different), None], dtype=object)  # the code of a missing value is -1: the last
    return pd.Series(texts[codes], index=values.index, name=values.name)


def word(value: Any) -> str:
    """One value as text."""
    return str(int(value)) if is_whole(value) else str(value).strip()


def is_whole(value: Any) -> bool:
    """Is a value a float that stands for exactly one whole number?"""
    return isinstance(value, float) and value.is_integer() and abs(value) < 2**53


def moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the values that are not NaN; 1 for a deviation of 0."""
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 1.0
    largest = float(np.abs(known).max()) or 1.0  # values near the end of float64 must not overflow when squared
    mean, scale = float((known / largest).mean()), float((known / largest).std())
    return mean * largest, scale * largest if scale > 1e-12 else 1.0


def standardise(values: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """(x - mean) / scale in float32, cut at 10,000 deviations."""
    with np.errstate(over="ignore"):
        return np.clip((values - mean) / scale, -LARGEST, LARGEST).astype(np.float32)


def date_format(values: "pd.Series") -> str | None:
    """How the dates of a column are written: the first known way that reads every value; None: these are no dates."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return "ISO8601"
    texts = known(values)
    if not len(texts) or not texts.str.match(WRITTEN).all():
        return None
    sample = texts.iloc[:200]
    for written in DATES:
        # Most ways are told apart by a sample; only the one that reads it is tried on all.
        if all(
            pd.to_datetime(part, format=written, errors="coerce", utc=True).notna().all() for part in (sample, texts)
        ):
            return written
    return None


def reads_as_numbers(values: "pd.Series") -> bool:
    """Is a column of text one of numbers, plainly written, but for words that stand for a missing value?"""
    return written_as(values) is Written.PLAIN


def written_as(values: "pd.Series") -> Written | None:
    """How a column of text writes its numbers; None: it holds others than words for a missing value."""
    return how_written(known(values))


def known(values: "pd.Series") -> "pd.Series":
    """The texts of a column that stand for no missing value, stripped."""
    texts = values.dropna().astype(str).str.strip()
    return texts[~texts.str.lower().isin(MISSING)]


def _seconds(values: "pd.Series", written: str) -> np.ndarray:
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(values):
        values = pd.to_datetime(as_texts(values), format=written, errors="coerce", utc=True)
    elif values.dt.tz is not None:
        values = values.dt.tz_convert("UTC")
    # In seconds, as nanoseconds do not reach beyond the year 2262.
    since = values.dt.as_unit("s") - pd.Timestamp(0, tz=values.dt.tz).as_unit("s")
    return since.dt.total_seconds().to_numpy(np.float64)
