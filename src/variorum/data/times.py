"""Reading a column of times, however they are written; the way is remembered, so that newer rows are read alike."""

from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.core import VariorumError
from variorum.data.columns import as_texts, numbers

if TYPE_CHECKING:
    import pandas as pd

DATES, NUMBERS, MONTHS_OF_YEARS = "dates", "numbers", "decimal years"
"""Times that are dates already; plain numbers (years, counts of steps); 1949.083 for February 1949."""
_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d %b %Y", "%b %d %Y", "%b %d, %Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
_PLAIN = ("ISO8601", "%Y%m%d", "%Y%m", "%Y/%m", "%b %Y", "%B %Y", "%Y-%m-%d %H")
FORMATS = (*_PLAIN, *(day + clock for clock in _CLOCKS for day in _DAYS))
QUARTERS = "quarters"
_QUARTER = r"(?P<year>\d{4})[- ]?[Qq](?P<quarter>[1-4])"
UNITS = {"s": (1e8, 1e10), "ms": (1e11, 1e13), "us": (1e14, 1e16), "ns": (1e17, 1e19)}
"""Numbers in these ranges count seconds, milliseconds, ... since 1970: all from 1973 to 2286."""
YEARS = (1000, 3000)
SAMPLE = 200
MOST_UNREADABLE = 0.1
"""More times than this part that cannot be read are an error; fewer are left out and said."""


def times_of(values: "pd.Series") -> tuple[str, np.ndarray]:
    """How the times of a column are written, and the times: (rows,) datetime64[us], or float64 for plain numbers.

    What cannot be read is NaT or NaN. Where days and months could be told apart either way, the way is taken that
    gives the fewer different steps. Raises :class:`VariorumError` if more than a tenth cannot be read.
    """
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(values) and not values.dropna().map(pd.api.types.is_scalar).all():
        raise _unreadable(values, "lists or other nested values")
    best, found, fewest = None, None, (float("inf"), float("inf"))
    for written in _ways(values):
        read = read_times(values, written)
        missing = int(np.isnan(read).sum())
        if missing == len(read):
            continue
        known = np.unique(read[~np.isnan(read)])
        rank = (float(missing), float(len(np.unique(np.diff(known)))))
        if rank < fewest:
            best, found, fewest = written, read, rank
    given = int(values.notna().sum())
    if best is None or found is None or np.isnan(found).sum() - (len(values) - given) > MOST_UNREADABLE * given:
        raise _unreadable(values, _first_unreadable(values, found))
    return best, found


def read_times(values: "pd.Series", written: str) -> np.ndarray:
    """Times (rows,) written this way: datetime64[us] (UTC where zones are given), or float64 for plain numbers."""
    import pandas as pd

    if written == NUMBERS:
        return numbers(values)
    if written == MONTHS_OF_YEARS:
        months = np.round(numbers(values) * 12)
        return _of_months(months)
    if pd.api.types.is_datetime64_any_dtype(values):
        times = values
    elif written in UNITS:
        low, high = UNITS[written]
        known = numbers(values)
        known = np.where((known >= low) & (known < high), known, np.nan)
        times = pd.to_datetime(pd.Series(known * {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[written]).round(),
                               unit="us", errors="coerce")  # fmt: skip
    elif written == QUARTERS:
        parts = _texts(values).str.extract(f"^{_QUARTER}$").astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return _of_months(12 * parts[:, 0] + 3 * (parts[:, 1] - 1))
    elif written == DATES:
        times = pd.to_datetime(values, errors="coerce", utc=True)
    else:
        times = pd.to_datetime(_texts(values), format=written, errors="coerce", utc=True)
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return times.to_numpy().astype("datetime64[us]")


def says_zone(values: "pd.Series") -> bool:
    """Do the times of a column name a time zone?"""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return values.dt.tz is not None
    if pd.api.types.is_numeric_dtype(values):
        return False
    return bool(_texts(values.head(SAMPLE)).str.contains(r"\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)$", na=False).any())


def _ways(values: "pd.Series") -> list[str]:
    """The ways of writing that could be meant; the first of equally good ones is taken."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return [DATES]
    if pd.api.types.is_bool_dtype(values):
        return []
    known = numbers(values)
    known = known[~np.isnan(known)]
    if len(known) >= (1 - MOST_UNREADABLE) * values.notna().sum() and len(known):
        return [_way_of_numbers(known, values)]
    texts = _texts(values).dropna()
    # A sample tells most ways apart; only those that read as much of it as the best are tried on all.
    sample = texts.iloc[np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int)]
    readable = {way: int((~np.isnan(read_times(sample, way))).sum()) for way in (*FORMATS, QUARTERS)}
    most = max(readable.values(), default=0)
    return [way for way, count in readable.items() if count == most and count]


def _way_of_numbers(known: np.ndarray, values: "pd.Series") -> str:
    whole, low, high = bool((known == np.round(known)).all()), known.min(), known.max()
    if whole and low >= 1e7 and high < 1e8 and not np.isnan(read_times(values, "%Y%m%d")[values.notna()]).any():
        return "%Y%m%d"
    if whole and low >= 1e5 and high < 1e6 and not np.isnan(read_times(values, "%Y%m")[values.notna()]).any():
        return "%Y%m"
    if not whole and YEARS[0] <= low and high < YEARS[1] and np.abs(12 * known - np.round(12 * known)).max() < 0.02:
        return MONTHS_OF_YEARS
    return next((unit for unit, (least, most) in UNITS.items() if least <= low and high < most), NUMBERS)


def _of_months(months: np.ndarray) -> np.ndarray:
    """Months (rows,) counted from the year 0 -> the first days of them."""
    sane = (months >= 12 * YEARS[0]) & (months < 12 * YEARS[1])
    since = np.where(sane, months - 12 * 1970, 0).astype(np.int64)
    times = since.astype("datetime64[M]").astype("datetime64[us]")
    return np.where(sane, times, np.datetime64("NaT", "us"))


def _texts(values: "pd.Series") -> Any:
    """Values as text, whole numbers without a decimal point."""
    import pandas as pd

    if pd.api.types.is_float_dtype(values):
        return values.map(lambda value: f"{value:.0f}", na_action="ignore").astype("string")
    return as_texts(values)


def _first_unreadable(values: "pd.Series", found: np.ndarray | None) -> str:
    known = values.notna().to_numpy()
    stuck = known & (np.isnan(found) if found is not None else True)
    if not stuck.any():
        return "nothing but missing values"
    place = int(np.flatnonzero(stuck)[0])
    return f"{int(stuck.sum())} values that are none, the first {str(values.iloc[place])[:60]!r} in row {place + 1}"


def _unreadable(values: "pd.Series", found: str) -> VariorumError:
    return VariorumError(f"time column {str(values.name)!r}", expected="dates, times or numbers", found=found,
                         do="Write them like 2024-01-31 13:00, or name another --time column.")  # fmt: skip
