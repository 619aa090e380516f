"""Rows of one series put on regular steps. Whatever was repaired is counted, so that it can be said."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from variorum.core import VariorumError


@dataclass(frozen=True)
class Regular:
    """A series without gaps.

    start: its first step.     values: (n, variables) float64, gaps filled with the value before.
    real: (n, variables), False where a value was filled in.     doubled: rows that shared a step with another.
    lost: steps before the last gap that was too long to fill.
    """

    start: int
    values: np.ndarray
    real: np.ndarray
    doubled: int
    lost: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> np.ndarray:
        """The steps (n,)."""
        return self.start + np.arange(len(self))


def regular(index: np.ndarray, values: np.ndarray, *, limit: int, subject: str) -> Regular:
    """Rows at steps ``index`` (rows,), in any order, with ``values`` (rows, variables), NaN where missing.

    Rows of one step are averaged. The series begins where every variable is known for the first time and ends with the
    last row in which one is; missing steps and values take the value before. Where a variable is missing for more than
    ``limit`` steps in a row, the series begins after them. Raises :class:`VariorumError` where a variable is never
    known, or not after such a gap.
    """
    known = ~np.isnan(values)
    if not known.any(axis=0).all():
        raise VariorumError(subject, expected="numbers in every column to forecast", found="a column without any",
                            do="Leave the column or the series out.")  # fmt: skip
    steps, inverse, rows = np.unique(index, return_inverse=True, return_counts=True)
    totals, counts = (np.zeros((len(steps), values.shape[1])) for _ in range(2))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        np.add.at(totals, inverse, np.where(known, values, 0.0))
        np.add.at(counts, inverse, known)
        mean = np.where(counts > 0, totals / counts, np.nan)
    mean = np.where(np.isinf(mean), np.nan, mean)
    first = _first(mean, subject)
    last = int(np.flatnonzero((~np.isnan(mean)).any(axis=1))[-1])
    after = _after_gaps(steps[: last + 1], ~np.isnan(mean[: last + 1]), limit)
    begin = after + _first(mean[after:], subject)
    lost, kept = int(steps[begin] - steps[first]), slice(begin, last + 1)
    steps, mean = steps[kept], mean[kept]
    full = np.full((int(steps[-1] - steps[0]) + 1, mean.shape[1]), np.nan)
    full[steps - steps[0]] = mean
    real = ~np.isnan(full)
    before = np.maximum.accumulate(np.where(real, np.arange(len(full))[:, None], 0), axis=0)
    return Regular(int(steps[0]), np.take_along_axis(full, before, axis=0), real, int((rows[kept] - 1).sum()), lost)


def _first(mean: np.ndarray, subject: str) -> int:
    """The first row in which every variable is known."""
    whole = np.flatnonzero(~np.isnan(mean).any(axis=1))
    if not len(whole):
        raise VariorumError(subject, expected="a row in which all columns to forecast are known", found="none",
                            do="Name one of the columns with --target.")  # fmt: skip
    return int(whole[0])


def _after_gaps(steps: np.ndarray, known: np.ndarray, limit: int) -> int:
    """The first row after all gaps of more than ``limit`` steps in any of the columns ``known`` (rows, variables)."""
    after = 0
    for column in known.T:
        places = np.flatnonzero(column)
        if steps[-1] - steps[places[-1]] > limit:
            return len(steps)
        long = np.flatnonzero(np.diff(steps[places]) - 1 > limit)
        after = max(after, int(places[long[-1] + 1]) if len(long) else 0)
    return after


def repairs(series: Iterable[Regular], limit: int) -> list[str]:
    """A sentence for each kind of repair that was made."""
    series = list(series)
    notes = []
    if doubled := sum(one.doubled for one in series):
        notes.append(f"{doubled} rows share their time with another row of the series: they are averaged.")
    if lost := sum(one.lost for one in series):
        notes.append(f"{lost} steps lie before gaps of more than {limit} steps, which are not filled: they are left "
                     "out.")  # fmt: skip
    cells = sum(one.real.size for one in series)
    if filled := cells - sum(int(one.real.sum()) for one in series):
        notes.append(f"{filled} of {cells} values are missing and filled with the one before (at most {limit} in a "
                     "row); filled values are never judged.")  # fmt: skip
    return notes
