"""How sure a mean score over held-out rows is, and whether two means over the same rows differ.

A score that is 0 or 1 for each row (accuracy) gets Wilson's interval (Wilson 1927), which stays honest near 0 and 1:
    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
Every other score, and every comparison, is bootstrapped over rows (Efron 1979): rows are drawn with replacement, the
mean is taken again, and the interval is between percentiles. Tokens of one row of text depend on each other, so the
row, never the token, is what is drawn. Comparisons draw the same rows for both sides.

A candidate that was trained with k seeds is scored by their mean. How that would have come out with other seeds is the
second, independent part of what is not known: t s / sqrt(k), with s the standard deviation from seed to seed and t
Student's quantile for k - 1 degrees of freedom. The two parts of an interval's reach are added as squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95
RESAMPLES = 4000
MOST_BLOCKS = 4096
"""More rows than this are drawn in blocks of neighbours; the interval stays the same to its own sampling error."""


@dataclass(frozen=True)
class Scores:
    """Scores by held-out row: ``sums (rows,)`` over the row's ``counts (rows,)`` targets; their ratio is the mean.

    Of several seeds ``sums`` is their mean, and ``seeds`` are the mean scores of each; empty for a single one.
    shares: are they shares of seeds that were right, so that no mean lies outside of 0 and 1?
    """

    sums: np.ndarray
    counts: np.ndarray
    seeds: tuple[float, ...] = ()
    shares: bool = False

    @classmethod
    def of_seeds(cls, scores: "Sequence[Scores]") -> "Scores":
        """The scores of one candidate trained with several seeds, over the same rows."""
        if len(scores) == 1:
            return scores[0]
        return cls(np.mean([s.sums for s in scores], axis=0), scores[0].counts, tuple(s.mean for s in scores),
                   shares=all(s.binary for s in scores))  # fmt: skip

    @property
    def mean(self) -> float:
        """The mean score of a target."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def spread(self) -> float | None:
        """The standard deviation of the score from seed to seed; None for a single one."""
        if len(self.seeds) < 2:
            return None
        # The mean of equal numbers is not always that number.
        return float(np.std(self.seeds, ddof=1)) if min(self.seeds) < max(self.seeds) else 0.0

    @property
    def binary(self) -> bool:
        """One target in each row, and right or wrong, with one seed?"""
        return bool(not self.seeds and (self.counts == 1).all() and np.isin(self.sums, (0.0, 1.0)).all())


@dataclass(frozen=True)
class Interval:
    """Where the mean lies with a confidence of 95 percent, and how that was found."""

    low: float
    high: float
    method: str


def interval(scores: Scores, *, seed: int = 0) -> Interval:
    """The 95 percent interval of the mean of the scores."""
    if scores.binary:
        return wilson(float(scores.sums.sum()), len(scores.sums))
    low, high = np.quantile(resampled([scores], seed=seed)[0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if scores.spread is None:
        return Interval(float(low), float(high), "bootstrap over test rows")
    k, mean = len(scores.seeds), scores.mean
    reach = student.ppf((1 + LEVEL) / 2, k - 1) * scores.spread / k**0.5
    low, high = mean - np.hypot(mean - low, reach), mean + np.hypot(high - mean, reach)
    if scores.shares:
        low, high = max(0.0, low), min(1.0, high)
    return Interval(float(low), float(high), f"bootstrap over test rows, and {k} seeds")


def wilson(successes: float, rows: int) -> Interval:
    """Wilson's interval of a proportion."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    p = successes / rows
    middle = p + z * z / (2 * rows)
    reach = z * (p * (1 - p) / rows + z * z / (4 * rows * rows)) ** 0.5
    scale = 1 + z * z / rows
    # Rounding must not put the proportion itself outside.
    return Interval(max(0.0, min(p, (middle - reach) / scale)), min(1.0, max(p, (middle + reach) / scale)), "Wilson")


def resampled(scores: Sequence[Scores], *, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Means of redrawn rows, ``(candidates, resamples)``; the same rows are drawn for all candidates."""
    blocks = [_blocks(s) for s in scores]
    sums, counts = (np.stack([b[i] for b in blocks], axis=1) for i in (0, 1))
    n = len(sums)
    draw = np.random.default_rng(seed)
    means = np.empty((resamples, len(scores)))
    for start in range(0, resamples, 250):
        size = min(250, resamples - start)
        drawn = draw.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)
        means[start : start + size] = (weights @ sums) / (weights @ counts)
    return means.T


def equals_best(scores: Sequence[Scores], best: int, *, seed: int = 0) -> list[bool]:
    """Which candidates cannot be told apart from ``best``, which is one of them.

    The interval of the paired difference contains 0. It is widened for the number of comparisons (Bonferroni), so that
    the chance that any candidate as good as the best is called worse stays under 5 percent. The variance from seed to
    seed is pooled over all candidates that have several; one with a single seed is taken to vary as they do.
    """
    if len(scores) == 1:
        return [True]
    means = resampled(scores, seed=seed)
    tail = (1 - LEVEL) / (len(scores) - 1) / 2
    low, high = np.quantile(means - means[best], [tail, 1 - tail], axis=1)
    reach = _seed_reach(scores, best, tail)
    apart = np.array([s.mean for s in scores]) - scores[best].mean
    low, high = apart - np.hypot(apart - low, reach), apart + np.hypot(high - apart, reach)
    return [i == best or bool(a <= 0 <= b) for i, (a, b) in enumerate(zip(low, high, strict=True))]


def _seed_reach(scores: Sequence[Scores], best: int, tail: float) -> np.ndarray:
    """How far the difference to the best may be off for the seeds that happened to be drawn."""
    several = [s for s in scores if s.seeds]
    free = sum(len(s.seeds) - 1 for s in several)
    if not free:
        return np.zeros(len(scores))
    variance = sum((len(s.seeds) - 1) * float(np.var(s.seeds, ddof=1)) for s in several) / free
    drawn = np.array([max(1, len(s.seeds)) for s in scores])
    reach: np.ndarray = student.ppf(1 - tail, free) * np.sqrt(variance * (1 / drawn + 1 / drawn[best]))
    return reach


def _blocks(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    n = len(scores.sums)
    if n <= MOST_BLOCKS:
        return scores.sums.astype(float), scores.counts.astype(float)
    starts = np.linspace(0, n, MOST_BLOCKS, endpoint=False).astype(int)
    return (np.add.reduceat(scores.sums.astype(float), starts), np.add.reduceat(scores.counts.astype(float), starts))
