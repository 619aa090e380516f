"""Small drawings as SVG: the numbers of their paths, never their looks, which the style sheet gives."""

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 240.0, 96.0
"""Of a small drawing, in its own units."""

Values = Sequence[float | None]


def lines(rows: Sequence[Values]) -> dict[str, Any]:
    """Lines over one axis each, between the smallest and the largest value of all."""
    low, high = _ends([v for row in rows for v in row])
    return {"low": low, "high": high, "paths": [path(row, low, high) for row in rows]}


def forecast(known: Values, truth: Values, said: Values, steps: Sequence[int]) -> dict[str, Any]:
    """What was known, what came and what was forecast, on one axis of time; ``steps`` (known, forecast) they take."""
    low, high = _ends([*known, *truth, *said])
    past, ahead = steps
    total = max(1, past + ahead - 1)
    at = {"known": (0.0, (past - 1) / total), "later": (past / total, 1.0)}
    return {
        "low": low,
        "high": high,
        "now": _round((past - 0.5) / total * WIDTH),
        "known": path(known, low, high, *at["known"]),
        "truth": path(truth, low, high, *at["later"]),
        "forecast": path(said, low, high, *at["later"]),
    }


def path(values: Values, low: float, high: float, begin: float = 0.0, end: float = 1.0) -> str:
    """The path of a line that runs from ``begin`` to ``end`` of the width, broken where a value is missing."""
    n, scale, told, pen = len(values), (high - low) or 1.0, [], "M"
    for i, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x = (begin + (end - begin) * (i / (n - 1) if n > 1 else 0.5)) * WIDTH
        told.append(f"{pen}{_round(x)} {_round((high - value) / scale * HEIGHT)}")
        pen = "L"
    # A single point is drawn as the round end of a line of no length.
    return "".join(told) + ("h0" if len(told) == 1 else "")


def dots(points: Sequence[Sequence[float]]) -> str:
    """Points in one drawing, as wide as high, as the round ends of lines of no length."""
    (left, right), (low, high) = (_ends([p[i] for p in points]) for i in (0, 1))
    scale, middle = max(right - left, high - low) or 1.0, ((left + right) / 2, (low + high) / 2)
    places = (((x - middle[0]) / scale, (middle[1] - y) / scale) for x, y in points)
    return "".join(f"M{_round(WIDTH / 2 + x * HEIGHT)} {_round(HEIGHT / 2 + y * HEIGHT)}h0" for x, y in places)


def bars(shares: Sequence[float]) -> str:
    """Bars about the middle, of shares of the height."""
    step = WIDTH / max(1, len(shares))
    places = ((step * (i + 0.5), max(0.01, min(1.0, share)) * HEIGHT / 2) for i, share in enumerate(shares))
    return "".join(f"M{_round(x)} {_round(HEIGHT / 2 - y)}V{_round(HEIGHT / 2 + y)}" for x, y in places)


def _ends(values: Values) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _round(value: float) -> float:
    return round(value, 1)
