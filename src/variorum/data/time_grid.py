"""The regular steps that the times of series follow: which step a time is, and what time a step is."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from variorum.core import Registered

US = 1_000_000
MINUTE, HOUR, DAY, WEEK = 60 * US, 3600 * US, 86400 * US, 7 * 86400 * US
LONGEST_SEASON = 1024


class TimeGrid(Registered, abstract=True):
    """Steps 0, 1, 2, ... and the times at which they stand.

    seasons: lengths, in steps, of the cycles that are usual at this pace.     features: of the calendar, for each step.
    says: the pace in words.
    """

    kind: ClassVar[str] = "time grid"
    seasons: tuple[int, ...]
    features: int
    says: str

    @abstractmethod
    def index(self, times: np.ndarray) -> np.ndarray:
        """Times (n,) -> the nearest steps (n,) int64."""

    @abstractmethod
    def times(self, index: np.ndarray) -> np.ndarray:
        """Steps (n,) -> times (n,), in the unit of the user."""

    @abstractmethod
    def calendar(self, index: np.ndarray) -> np.ndarray:
        """Steps (n,) -> where they stand in the hour, day, ..., year: (n, features) float32 in -0.5 ... 0.5."""


class EvenGrid(TimeGrid):
    """Step i stands at origin + i every, both in microseconds since 1970.

    The calendar tells, of those that the pace resolves, minute of the hour, hour of the day, day of the week, day of
    the month and day of the year, as Zhou et al. 2020, arXiv:2012.07436, do.
    """

    examples = ({"every": HOUR, "origin": 0}, {"every": WEEK, "origin": 0})

    def __init__(self, *, every: int, origin: int) -> None:
        self.every, self.origin = every, origin
        cycles = [cycle // every for cycle in (HOUR, DAY, WEEK) if cycle % every == 0]
        self.seasons = (52,) if every == WEEK else tuple(s for s in cycles if 2 <= s <= LONGEST_SEASON)
        self._cycles = [cycle for cycle in (HOUR, DAY, WEEK) if cycle > every]
        self.features = len(self._cycles) + 2
        self.says = f"every {span(every)}"

    def index(self, times: np.ndarray) -> np.ndarray:
        since = times.astype("datetime64[us]").astype(np.int64) - self.origin
        return (since + self.every // 2) // self.every

    def times(self, index: np.ndarray) -> np.ndarray:
        return (self.origin + index * self.every).astype("datetime64[us]")

    def calendar(self, index: np.ndarray) -> np.ndarray:
        times = self.origin + index * self.every
        monday = times + 3 * DAY
        told = [np.minimum((monday if cycle == WEEK else times) % cycle / (cycle - self.every), 1.0)
                for cycle in self._cycles]  # fmt: skip
        return np.stack([*told, *_of_dates(times.astype("datetime64[us]"))], axis=1).astype(np.float32) - 0.5


class MonthGrid(TimeGrid):
    """Step i stands in the month origin + i every, months counted from January 1970, on the ``day`` or the last one.

    The calendar tells the month of the year.
    """

    examples = ({"every": 1, "origin": 0, "day": 31},)

    def __init__(self, *, every: int, origin: int, day: int) -> None:
        self.every, self.origin, self.day = every, origin, day
        self.seasons = (12 // every,) if 12 % every == 0 and every < 12 else ()
        self.features = 1 if self.seasons else 0
        usual = {1: "month", 3: "quarter", 12: "year"}
        self.says = f"every {usual.get(every, f'{every} months')}"

    def index(self, times: np.ndarray) -> np.ndarray:
        months = times.astype("datetime64[M]").astype(np.int64) - self.origin
        return (months + self.every // 2) // self.every if self.every > 1 else months

    def times(self, index: np.ndarray) -> np.ndarray:
        first = (self.origin + index * self.every).astype("datetime64[M]")
        last = (first + 1).astype("datetime64[D]") - 1
        return np.minimum(first.astype("datetime64[D]") + (self.day - 1), last).astype("datetime64[us]")

    def calendar(self, index: np.ndarray) -> np.ndarray:
        months = (self.origin + index * self.every) % 12 / 11 - 0.5
        return months[:, None].astype(np.float32)[:, : self.features]


class WorkdayGrid(TimeGrid):
    """Step i is the i-th day from Monday to Friday since Thursday, 1 January 1970; the calendar is that of days."""

    def __init__(self) -> None:
        self.seasons, self.features, self.says = (5,), 3, "every day from Monday to Friday"

    def index(self, times: np.ndarray) -> np.ndarray:
        return np.busday_count(np.datetime64(0, "D"), times.astype("datetime64[D]")).astype(np.int64)

    def times(self, index: np.ndarray) -> np.ndarray:
        return np.busday_offset(np.datetime64(0, "D"), index, roll="forward").astype("datetime64[us]")

    def calendar(self, index: np.ndarray) -> np.ndarray:
        times = self.times(index)
        weekday = (times.astype("datetime64[D]").astype(np.int64) + 3) % 7 / 6
        return np.stack([weekday, *_of_dates(times)], axis=1).astype(np.float32) - 0.5


class NumberGrid(TimeGrid):
    """Step i stands at the number origin + i every: years, or counts of steps. Nothing is known of a calendar."""

    examples = ({"every": 1.0, "origin": 1700.0},)

    def __init__(self, *, every: float, origin: float) -> None:
        self.every, self.origin = every, origin
        self.features, self.says = 0, f"every {every:g} in the column of times"
        # No calendar says which cycles are usual: any short one may be.
        self.seasons = tuple(range(2, 25))

    def index(self, times: np.ndarray) -> np.ndarray:
        return np.floor((times - self.origin) / self.every + 0.5).astype(np.int64)

    def times(self, index: np.ndarray) -> np.ndarray:
        times = self.origin + index * self.every
        whole = float(self.every).is_integer() and float(self.origin).is_integer()
        return times.astype(np.int64) if whole and np.abs(times).max(initial=0.0) < 2**53 else times

    def calendar(self, index: np.ndarray) -> np.ndarray:
        return np.zeros((len(index), 0), np.float32)


def _of_dates(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The day of the month and the day of the year, 0 ... 1."""
    days = times.astype("datetime64[D]")
    month, year = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    return (days - month).astype(np.int64) / 30, (days - year).astype(np.int64) / 365


def span(microseconds: int) -> str:
    """A length of time in words: 15 minutes, day, 2 weeks."""
    for name, unit in (("week", WEEK), ("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", US)):
        if microseconds % unit == 0:
            count = microseconds // unit
            return name if count == 1 else f"{count} {name}s"
    return f"{microseconds / US:g} seconds"
