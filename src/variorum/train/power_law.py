"""Power laws of several variables: fitted to measurements, with bootstrap intervals; and the best rate of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from variorum.core import VariorumError


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient * prod_i x_i ^ exponents_i."""

    coefficient: float
    exponents: tuple[float, ...]

    def __call__(self, *x: float) -> float:
        if len(x) != len(self.exponents) or min(x, default=1.0) <= 0:
            raise VariorumError("power law", expected=f"{len(self.exponents)} numbers above 0", found=str(x),
                                do="Give one for each exponent.")  # fmt: skip
        return float(self.coefficient * np.prod(np.power(x, self.exponents)))


@dataclass(frozen=True)
class Fitted:
    """A law, and the 95 percent bootstrap interval of each exponent."""

    law: PowerLaw
    low: tuple[float, ...]
    high: tuple[float, ...]


def fit(x: np.ndarray, y: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Fitted:
    """The law nearest to y (points,) at x (points, variables), by least squares of the logarithms.

    The interval is of ``resamples`` fits to points drawn with replacement, those that do not settle every exponent
    apart. Raises VariorumError if the points themselves do not, or if a number is not above 0.
    """
    if x.ndim != 2 or y.shape != x.shape[:1] or not (x > 0).all() or not (y > 0).all():
        raise VariorumError("points", expected="x (points, variables) and y (points,), all above 0",
                            found=f"shapes {x.shape} and {y.shape}",
                            do="Leave out what was not measured.")  # fmt: skip
    columns, target = np.column_stack([np.ones(len(x)), np.log(x)]), np.log(y)
    if np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise VariorumError("points", expected="points that settle every exponent", found=f"{len(x)} that do not",
                            do="Vary each variable independently of the others.")  # fmt: skip
    coefficients = np.linalg.lstsq(columns, target, rcond=None)[0]
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    grams = np.einsum("rpi,rpj->rij", columns[drawn], columns[drawn])
    settled = np.linalg.matrix_rank(columns[drawn]) == columns.shape[1]
    moments = np.einsum("rpi,rp->ri", columns[drawn], target[drawn])[settled]
    found = np.linalg.solve(grams[settled], moments[..., None])[..., 1:, 0]
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    law = PowerLaw(float(np.exp(coefficients[0])), tuple(map(float, coefficients[1:])))
    return Fitted(law, tuple(map(float, low)), tuple(map(float, high)))


def best_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate of the least loss: the vertex of the parabola in log rate that is nearest to all points.

    Without a vertex among the rates, because the loss only falls or bends the other way, the best rate that was tried.
    """
    x = np.log(rates)
    bend, slope, _ = np.polyfit(x, losses, 2)
    vertex = -slope / (2 * bend) if bend > 0 else np.inf
    return float(np.exp(vertex)) if x.min() <= vertex <= x.max() else float(rates[int(np.argmin(losses))])


def second_differences(rates: Sequence[float], losses: Sequence[float]) -> np.ndarray:
    """How the loss bends in log rate at each inner point: above 0 where it is convex."""
    x, y = np.log(rates), np.asarray(losses)
    slopes = np.diff(y) / np.diff(x)
    return 2 * np.diff(slopes) / (x[2:] - x[:-2])
