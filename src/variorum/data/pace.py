"""Which regular steps the times of series follow."""

from collections.abc import Sequence

import numpy as np

from variorum.core import Spec, VariorumError
from variorum.data.time_grid import DAY, HOUR, MINUTE, US, WEEK, EvenGrid, MonthGrid, NumberGrid, TimeGrid, WorkdayGrid

USUAL = tuple(
    count * unit
    for unit, counts in ((US, (1, 2, 5, 10, 15, 20, 30)), (MINUTE, (1, 2, 5, 10, 15, 20, 30)),
                         (HOUR, (1, 2, 3, 4, 6, 8, 12)), (DAY, (1, 2)), (WEEK, (1, 2, 4)))
    for count in counts
)  # fmt: skip
NEAR = 0.1
"""Times that jump about regular steps have a median step this near to a usual one."""
LEAST_REGULAR = 0.5
"""At least this part of the steps has the commonest length, or the times jump about regular steps."""


def find_grid(series: Sequence[np.ndarray]) -> Spec[TimeGrid]:
    """The grid of the ascending, different times of each series: datetime64[us], or float64 for plain numbers.

    Months if steps have 28 to 31 days (or such multiples) and fall on like days; Monday to Friday if steps are of a day
    but no time is a Saturday or Sunday; else the commonest step, or where times jump about, the usual length nearest
    to the median step. Raises :class:`VariorumError` if there is no such thing.
    """
    steps = np.concatenate([np.diff(times) for times in series])
    if not len(steps):
        raise VariorumError("times", expected="series of at least two different times", found="one time each",
                            do="Name the right columns with --time and --group.")  # fmt: skip
    every = np.concatenate(series)
    if every.dtype.kind == "f":
        return _numbers(every, steps)
    spans = steps.astype(np.int64)
    if (months := _months(series, every)) is not None:
        return months
    lengths, counts = np.unique(spans, return_counts=True)
    step = int(lengths[counts.argmax()])
    if step == DAY and _workdays(every):
        return WorkdayGrid.spec()
    if counts.max() >= LEAST_REGULAR * len(spans):
        return EvenGrid.spec(every=step, origin=int(every.min().astype(np.int64)))
    middle = float(np.median(spans))
    usual = min(USUAL, key=lambda length: abs(length - middle))
    if abs(usual - middle) > NEAR * usual:
        raise VariorumError("times", expected="regular steps", found=f"steps from {_words(lengths[0])} to "
                            f"{_words(lengths[-1])}, the commonest in {100 * counts.max() / len(spans):.0f} % of them",
                            do="Sum or average the rows by hour, day or month first; name --group if there are "
                            "several series.")  # fmt: skip
    # Monday is where weeks begin; a shorter step divides the day.
    start = int(every.min().astype(np.int64))
    return EvenGrid.spec(every=usual, origin=start if usual > DAY else start // DAY * DAY)


def _numbers(every: np.ndarray, steps: np.ndarray) -> Spec[TimeGrid]:
    lengths, counts = np.unique(np.round(steps / steps.min()), return_counts=True)
    if counts.max() < LEAST_REGULAR * len(steps) or not np.isfinite(lengths).all():
        raise VariorumError("times", expected="numbers at regular steps",
                            found=f"steps from {steps.min():g} to {steps.max():g}",
                            do="Give dates or numbers of steps; name --group if there are several series.")  # fmt: skip
    common = lengths[counts.argmax()]
    length = float(np.median(steps[np.round(steps / steps.min()) == common]))
    return NumberGrid.spec(every=length, origin=float(every.min()))


def _months(series: Sequence[np.ndarray], every: np.ndarray) -> Spec[TimeGrid] | None:
    """Months, if every series has one time a month at most, on like days."""
    lengths = [np.diff(times.astype("datetime64[M]").astype(np.int64)) for times in series]
    steps = np.concatenate(lengths)
    if not len(steps) or steps.min() < 1:
        return None
    days = every.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    last = ((months + 1).astype("datetime64[D]") - days).astype(np.int64) == 1
    kinds, counts = np.unique(day, return_counts=True)
    common = int(kinds[counts.argmax()])
    # The 30th stands for itself and for the last day of a shorter month.
    like = (day == common) | (last & (day < common))
    if last.mean() < 0.9 and like.mean() < 0.9:
        return None
    found, counts = np.unique(steps, return_counts=True)
    step = int(found[counts.argmax()])
    return MonthGrid.spec(
        every=step, origin=int(months.min().astype(np.int64)), day=31 if last.mean() >= 0.9 else common
    )


def _workdays(every: np.ndarray) -> bool:
    days = np.unique(every.astype("datetime64[D]").astype(np.int64))
    return len(days) > 5 and not (((days + 3) % 7) >= 5).any() and days[-1] - days[0] >= 9


def _words(length: np.int64) -> str:
    seconds = int(length) / US
    return f"{seconds / 86400:.3g} days" if seconds >= 86400 else f"{seconds:.3g} s"
