"""A table read as series: its columns, the steps that its times follow, and each series on them."""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.core import Spec, VariorumError
from variorum.data.forecast_rows import left_out, series_of
from variorum.data.pace import find_grid
from variorum.data.regular import Regular, repairs
from variorum.data.series_columns import find_groups, find_targets, find_time
from variorum.data.time_grid import TimeGrid
from variorum.data.times import says_zone, times_of

if TYPE_CHECKING:
    import pandas as pd

MOST_SERIES = 20_000
LONGEST_GAP = 12
LONGEST_SEASON_GAP = 48
"""Gaps of a season are filled up to this length, others up to LONGEST_GAP steps."""
MOST_DOUBLED = 0.5
"""More rows than this part that share their time with another are series that nobody told apart."""
MOST_FILLED, MOST_LOST = 0.5, 0.5
"""No more than these parts of the steps are filled in, or left out before long gaps."""


@dataclass(frozen=True)
class SeriesTable:
    """time, group, targets: names of columns.     written: how times are written.     names: of all series.

    series: number and rows of each series that could be read.     limit: steps in a row that are filled.
    """

    time: str
    written: str
    group: str | None
    targets: tuple[str, ...]
    names: tuple[str, ...]
    grid: Spec[TimeGrid]
    series: tuple[tuple[int, Regular], ...]
    limit: int
    notes: tuple[str, ...]


def read_columns(
    frame: "pd.DataFrame", source: str, *, time: str | None, group: str | None, target: str | None
) -> SeriesTable:
    """The series in a table; raises :class:`VariorumError` for what cannot be put on regular steps."""
    notes: list[str] = []
    time, note = find_time(frame, time, source)
    numbers, names = find_groups(frame, group, source)
    if group == time:
        raise VariorumError(f"{source} group", expected="another column than that of times", found=repr(group),
                            do="Leave --group out if there is one series.")  # fmt: skip
    if len(names) > MOST_SERIES:
        raise VariorumError(f"{source} group {group!r}", expected=f"at most {MOST_SERIES:,} series",
                            found=f"{len(names):,}", do="Forecast a part of them, or sums of some.")  # fmt: skip
    targets, told = find_targets(frame, target, (time, *((group,) if group else ())), source)
    written, times = times_of(frame[time])
    notes += [*([note] if note else []), *told, *left_out(times, numbers, group)]
    if says_zone(frame[time]):
        notes.append("Times with a zone are read as UTC; forecasts are in UTC.")
    if written not in ("dates", "ISO8601", "numbers"):
        notes.append(f"Times are read as {written}.")
    grid = find_grid(_different(times, numbers, len(names)))
    built = grid.build()
    season = min((s for s in built.seasons if s <= LONGEST_SEASON_GAP), default=0)
    limit = max(LONGEST_GAP, season)
    series, unread = _each(frame, times, numbers, built, targets, limit, names)
    _check_regular([one for _, one in series], limit, source, group)
    notes += [*unread, *repairs([one for _, one in series], limit)]
    return SeriesTable(time, written, group, targets, names, grid, tuple(series), limit, tuple(notes))


def _different(times: np.ndarray, numbers: np.ndarray, count: int) -> list[np.ndarray]:
    """The different times of each series, ascending."""
    kept = ~np.isnan(times) & (numbers >= 0)
    times, numbers = times[kept], numbers[kept]
    order = np.lexsort((times, numbers))
    edges = np.searchsorted(numbers[order], np.arange(count + 1))
    found = [np.unique(times[order[a:b]]) for a, b in itertools.pairwise(edges) if b > a]
    if not found:
        raise VariorumError(
            "times", expected="rows that tell their time", found="none", do="Name another --time column."
        )
    return found


def _each(
    frame: "pd.DataFrame", times: np.ndarray, numbers: np.ndarray, grid: TimeGrid, targets: tuple[str, ...], limit: int,
    names: tuple[str, ...],
) -> tuple[list[tuple[int, Regular]], list[str]]:  # fmt: skip
    """The series; of several, those that cannot be put on regular steps are left out, and notes say why."""
    found, faults = series_of(frame, times, numbers, grid, targets, limit=limit, names=names)
    if not found:
        raise faults[0]
    return found, [f"{len(faults)} series are left out, the first: {faults[0]}"] if faults else []


def _check_regular(series: list[Regular], limit: int, source: str, group: str | None) -> None:
    """Repairs that would make most of the data are none."""
    steps, doubled, lost = (sum(values) for values in zip(*((len(s), s.doubled, s.lost) for s in series), strict=True))
    if doubled > MOST_DOUBLED * (steps + doubled):
        raise VariorumError(source, expected="one row for each time" + (f" and {group}" if group else ""),
                            found=f"{doubled} rows that share their time with another",
                            do="Name the column that tells the series apart with --group.")  # fmt: skip
    if lost > MOST_LOST * (steps + lost):
        raise VariorumError(source, expected=f"gaps of at most {limit} steps, which are filled",
                            found=f"longer ones, after {lost} of {steps + lost} steps",
                            do="Fill them, or sum or average the rows to longer steps first.")  # fmt: skip
    filled = sum(int((~one.real).any(axis=1).sum()) for one in series)
    if filled > MOST_FILLED * steps:
        raise VariorumError(source, expected="rows for most steps", found=f"{filled} of {steps} steps without",
                            do="Sum or average the rows to longer steps (hours, days, months) first.")  # fmt: skip
