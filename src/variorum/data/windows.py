"""Where the parts of series begin, how far a forecast looks back, and which windows there are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from variorum.core import VariorumError
from variorum.data.draw import LEFT, SHARES

FEWEST_STEPS = 16
"""A forecast looks back at least so far: fewer steps tell neither level nor trend."""
LONGEST_CONTEXT = 1024
SHORT_SEASON = 60
"""A forecast looks back three seasons up to this length, two of longer ones."""
MOST_LEFT_OUT = 0.2
"""At most this part of the series may be too short for the context that is chosen."""
CLEARLY = 0.95
"""A season is one if repeating it errs by less than this part of the error of repeating the last step."""
FEWEST_WINDOWS = 24
"""Held-out windows overlap only where there would be fewer than this."""


@dataclass(frozen=True)
class Cuts:
    """Steps at which the valid part, the test part and what is after it begin, the same for all series."""

    valid: int
    test: int
    end: int

    def once_chosen(self, horizon: int) -> "Cuts":
        """The same with all but the last quarter of the valid part, a horizon at least, moved to train."""
        left = max(horizon, round(LEFT * (self.test - self.valid)))
        return replace(self, valid=max(self.valid, self.test - left))


@dataclass(frozen=True)
class Plan:
    """season: steps after which series repeat; 1: they do not.     context: steps that a forecast looks back on."""

    season: int
    context: int


def cut(steps: Sequence[np.ndarray], horizon: int) -> Cuts:
    """Divide the steps of all series by time, 60/20/20 of all of them, but a horizon at least to valid and test each.

    Raises :class:`VariorumError` if nothing is left to train on.
    """
    every = np.sort(np.concatenate(steps))
    valid, test = (int(every[place]) for place in _places(len(every)))
    cuts = _with_room(valid, test, int(every[-1]) + 1, horizon)
    if cuts.valid - int(every[0]) < FEWEST_STEPS + horizon:
        raise VariorumError("series", expected=f"at least {shortest(horizon)} steps for a horizon of {horizon}",
                            found=f"{max(map(len, steps))} in the longest series",
                            do="Give more rows or a shorter --horizon.")  # fmt: skip
    return cuts


def cut_before_end(steps: Sequence[np.ndarray], horizon: int, share: float) -> Cuts:
    """Divide the steps of all series by time so that the last ``share`` of them, but a horizon at least, is the valid
    part, and there is no test part. Raises :class:`VariorumError` if nothing is left to train on.
    """
    every = np.sort(np.concatenate(steps))
    end = int(every[-1]) + 1
    valid = min(int(every[min(len(every) - 1, round((1 - share) * len(every)))]), end - horizon)
    if valid - int(every[0]) < FEWEST_STEPS + horizon:
        least = FEWEST_STEPS + 2 * horizon
        raise VariorumError("series", expected=f"at least {least} steps for a horizon of {horizon}",
                            found=f"{max(map(len, steps))} in the longest series, of which {share:.0%} are set aside",
                            do="Give more rows or a shorter horizon.")  # fmt: skip
    return Cuts(valid, end, end)


def shortest(horizon: int) -> int:
    """Steps that one series must have."""
    steps = FEWEST_STEPS + 3 * horizon
    while _with_room(*_places(steps), steps, horizon).valid < FEWEST_STEPS + horizon:
        steps += 1
    return steps


def _places(count: int) -> tuple[int, int]:
    """Where, of so many steps in order, the valid and the test part begin."""
    first, second = (min(count - 1, round(share * count)) for share in (SHARES[0], SHARES[0] + SHARES[1]))
    return first, second


def _with_room(valid: int, test: int, end: int, horizon: int) -> Cuts:
    """The cuts moved forward until valid and test part hold a horizon each."""
    test = min(test, end - horizon)
    return Cuts(min(valid, test - horizon), test, end)


def plan(trained: Sequence[np.ndarray], seasons: Sequence[int], horizon: int) -> Plan:
    """The season and the context for the training parts (steps, variables) of the series.

    The season is the one, of those usual, by which repeating the last season errs least on the training parts over the
    horizon, if that is clearly less than by repeating the last step. The context is two horizons, three seasons (two of
    a long one), and a horizon more than the longest of the usual seasons that are clearly better than the last step (of
    half-hourly demand the day is the season, but a weekend looks like the last one), if there are so many steps.
    """
    enough = [values for values in trained if len(values) >= FEWEST_STEPS + horizon]
    if not enough:
        raise VariorumError("series", expected=f"series of at least {shortest(horizon)} steps for this horizon",
                            found=f"{max(map(len, trained))} in the longest training part",
                            do="Give more rows or a shorter --horizon.")  # fmt: skip
    room = int(np.quantile([len(values) for values in enough], MOST_LEFT_OUT, method="lower"))
    possible = [1, *(s for s in seasons if _least(s) + horizon <= room)]
    fitting = [values for values in enough if len(values) >= room]
    errors = {season: _repeats(fitting, season, horizon) for season in possible}
    season = min(errors, key=lambda s: (errors[s], s))
    season = season if errors[season] < CLEARLY * errors[1] else 1
    longest = max((s for s in possible if errors[s] < CLEARLY * errors[1]), default=0)
    wanted = max(2 * horizon, (3 if season <= SHORT_SEASON else 2) * season, longest + horizon, _least(season))
    # A third of what is left over goes to there being many windows.
    allowed = max(_least(season), min((room - horizon) * 2 // 3, LONGEST_CONTEXT))
    return Plan(season, min(wanted, allowed))


def starts(
    steps: Sequence[np.ndarray], real: np.ndarray, told: tuple[int, int], context: int, horizon: int
) -> np.ndarray:
    """Places, in all series joined, of the windows whose horizon lies within the steps ``told`` and has known values.

    steps: of each series.     real: for each place, whether anything is known there.
    """
    found, offset = [], 0
    known = np.concatenate([[0], np.cumsum(real)])
    for one in steps:
        ahead = one[0] + context + np.arange(max(0, len(one) - context - horizon + 1))
        first = offset + np.flatnonzero((ahead >= told[0]) & (ahead + horizon <= told[1]))
        some = known[first + context + horizon] > known[first + context]
        found.append(first[some])
        offset += len(one)
    return np.concatenate(found)


def apart(first: np.ndarray, steps: Sequence[np.ndarray], horizon: int) -> tuple[np.ndarray, int]:
    """Those of some windows, of each series its last and every k-th before it, that do not overlap; and k.

    Where there would be too few, k is smaller than the horizon.
    """
    owner = np.searchsorted(np.cumsum([len(one) for one in steps]), first, side="right")
    last = np.array([first[owner == number].max() for number in range(len(steps)) if (owner == number).any()])
    behind = last[np.searchsorted(np.unique(owner), owner)] - first
    for k in range(horizon, 0, -1):
        kept = first[behind % k == 0]
        if len(kept) >= FEWEST_WINDOWS or k == 1:
            return kept, k
    return first, 1


def _least(season: int) -> int:
    """The shortest context in which a season of this length shows."""
    return max(FEWEST_STEPS, 2 * season, season + 10)


def _repeats(series: Sequence[np.ndarray], season: int, horizon: int) -> float:
    """The error of repeating the last season over a horizon, in deviations, mean of all series and variables."""
    lags, counts = np.unique(season * np.ceil(np.arange(1, horizon + 1) / season).astype(int), return_counts=True)
    errors = []
    for values in series:
        deviation = values.std(axis=0)
        moving = deviation > 0
        if moving.any():
            each = [np.abs(values[lag:, moving] - values[:-lag, moving]).mean(axis=0) for lag in lags]
            errors.append(float((np.average(each, axis=0, weights=counts) / deviation[moving]).mean()))
    return float(np.mean(errors)) if errors else 0.0
