"""Which columns of a table of series are the times, the series' names and the numbers to forecast."""

from typing import TYPE_CHECKING

import numpy as np

from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.data.columns import numbers, reads_as_numbers, words
from variorum.data.times import NUMBERS, times_of

if TYPE_CHECKING:
    import pandas as pd

USUAL = ("time", "date", "datetime", "timestamp", "ds", "day", "week", "month", "quarter", "year", "index", "t")
NO_NAME = "(no name)"


def find_time(frame: "pd.DataFrame", name: str | None, source: str) -> tuple[str, str | None]:
    """The column of times; and a note if it was not named: the first usual name, else the only column of dates."""
    if name is not None:
        return known_column(frame, name, f"{source} time"), None
    lower = {str(column).lower(): column for column in reversed(list(frame.columns))}
    usual = next((lower[word] for word in USUAL if word in lower), None)
    dates = [usual] if usual is not None else [c for c in frame.columns if _dates(frame[c])]
    if len(dates) != 1:
        raise VariorumError(f"{source} time", expected="the name of the column of times",
                            found=f"none, and {len(dates)} columns of dates",
                            do=f"Name one with --time: {some(dates or list(frame.columns))}.")  # fmt: skip
    return dates[0], f"Column {dates[0]!r} is read as the time."


def find_targets(
    frame: "pd.DataFrame", target: str | None, beside: tuple[str, ...], source: str
) -> tuple[tuple[str, ...], list[str]]:
    """The columns to forecast: those named (several with commas between), else all of numbers; and notes."""
    if target is not None:
        names = [target] if target in frame.columns else [part.strip() for part in target.split(",")]
        found = tuple(dict.fromkeys(known_column(frame, name, f"{source} target") for name in names))
        for name in found:
            if name in beside:
                raise VariorumError(f"{source} target", expected="a column of numbers beside time and group",
                                    found=repr(name), do="Name another column.")  # fmt: skip
            if not _has_numbers(frame[name]):
                raise VariorumError(f"{source} target {name!r}", expected="numbers",
                                    found=f"{str(frame[name].dropna().head(1).tolist())[:60]}",
                                    do="Name a column of numbers.")  # fmt: skip
        left = [c for c in frame.columns if c not in (*found, *beside)]
        return found, [f"Columns left out, as only the past of the target is looked at: {some(left)}."] if left else []
    rest = [c for c in frame.columns if c not in beside]
    counting = [c for c in rest if _counts(frame[c])]
    found = tuple(c for c in rest if c not in counting and _has_numbers(frame[c]))
    if not found:
        raise VariorumError(source, expected="a column of numbers to forecast", found=some(rest) or "none beside time",
                            do="Add one, or name other --time and --group columns.")  # fmt: skip
    notes = [f"Forecast: {some(list(found))}."] if len(found) > 1 else []
    left = [c for c in rest if c not in found]
    return found, [*notes, f"Columns left out, as they hold no numbers to forecast: {some(left)}."] if left else notes


def find_groups(frame: "pd.DataFrame", group: str | None, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """For each row the number of its series, -1 where its name is missing; and the names in order."""
    import pandas as pd

    if group is None:
        return np.zeros(len(frame), np.int64), ("",)
    column = words(frame[known_column(frame, group, f"{source} group")])
    codes, names = pd.factorize(column, sort=True)
    if not len(names):
        raise VariorumError(f"{source} group", expected="names of series", found=f"none in {group!r}",
                            do="Name another column with --group.")  # fmt: skip
    return np.asarray(codes, np.int64), tuple(str(name) for name in names)


def known_column(frame: "pd.DataFrame", name: str, subject: str) -> str:
    """The name, if it is a column's."""
    if name not in frame.columns:
        raise VariorumError(subject, expected="the name of a column", found=repr(name),
                            do=nearest(name, map(str, frame.columns)))  # fmt: skip
    return name


def some(names: list[str], most: int = 10) -> str:
    """The first names, and a sign that there are more."""
    return ", ".join(str(name) or NO_NAME for name in names[:most]) + (", ..." if len(names) > most else "")


def _dates(values: "pd.Series") -> bool:
    """Is a column surely one of dates? Numbers are not."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values) or not values.notna().any():
        return False
    try:
        return times_of(values)[0] != NUMBERS
    except VariorumError:
        return False


def _has_numbers(values: "pd.Series") -> bool:
    import pandas as pd

    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return False
    if pd.api.types.is_numeric_dtype(values):
        return bool((~np.isnan(numbers(values))).any())
    return bool(values.dropna().map(pd.api.types.is_scalar).all()) and reads_as_numbers(values)


def _counts(values: "pd.Series") -> bool:
    """Does a column only number the rows of the file?"""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values) or len(values) < 20:
        return False
    told = numbers(values)
    return not np.isnan(told).any() and bool((np.diff(told) == 1).all())
