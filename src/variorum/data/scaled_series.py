"""A series with what its training part teaches: mean and deviation, and the error that a naive forecast makes there."""

from dataclasses import dataclass

import numpy as np

from variorum.data.regular import Regular

FLAT = 1e-9
"""A variable that moves by less than this part of its size does not move."""


@dataclass(frozen=True)
class ScaledSeries:
    """number: of the series.     trained: steps of its training part.     mean, scale: of each variable in it.

    naive: the mean of |y_t - y_(t - season)| in it, of each variable; 0 where it does not move.
    weights: (n, variables), scale / naive where a value is known and its variable moves, else 0: what an error in
    deviations is multiplied with to be a scaled error.
    """

    number: int
    series: Regular
    trained: int
    mean: np.ndarray
    scale: np.ndarray
    naive: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(self.naive > 0, self.scale / self.naive, 0.0)
        return self.series.real * each


def scaled(number: int, series: Regular, trained: int, season: int) -> ScaledSeries:
    """What the first ``trained`` steps teach, of which there are more than ``season``.

    A variable that repeats each season exactly is scaled by its error from step to step.
    """
    values = series.values[:trained]
    mean, scale = values.mean(axis=0), values.std(axis=0)
    size = np.abs(values).max(axis=0)
    moves = scale > FLAT * size
    naive = _lagged(series, trained, season)
    naive = np.where(naive > FLAT * size, naive, _lagged(series, trained, 1))
    return ScaledSeries(number, series, trained, mean, np.where(moves, scale, 1.0), np.where(moves, naive, 0.0))


def _lagged(series: Regular, trained: int, lag: int) -> np.ndarray:
    """The mean of |y_t - y_(t - lag)| where both are known, 0 where they never are."""
    values, real = series.values[:trained], series.real[:trained]
    both = real[lag:] & real[:-lag]
    total = np.where(both, np.abs(values[lag:] - values[:-lag]), 0.0).sum(axis=0)
    return total / np.maximum(both.sum(axis=0), 1)
