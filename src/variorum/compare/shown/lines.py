"""Values one after another, few enough to be drawn."""

import numpy as np

MOST = 160
"""Points of a line."""


def thinned(values: np.ndarray, *, most: int = MOST) -> list[float | None]:
    """At most ``most`` of the values (n,), evenly and with both ends, to five digits; None is a missing one."""
    if len(values) > most:
        values = values[np.linspace(0, len(values) - 1, most).round().astype(int)]
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def in_units(values: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Standardised values (n,) of float32 in the units they had: x * scale + mean, 0 where only rounding is left."""
    told = values * scale + mean
    return np.where(np.abs(told) < 1e-6 * scale, 0.0, told)
