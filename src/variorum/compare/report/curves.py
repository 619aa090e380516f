"""Learning curves: what candidates told of their progress, few enough points to be drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from variorum.compare.record import Record

MOST_POINTS = 300
"""Of a line."""

Event = Mapping[str, Any]


def curves(record: Record, told: Mapping[str, Sequence[Event]]) -> list[dict[str, Any]]:
    """For each candidate its lines: ``loss`` and ``score`` as points (seconds, step, value).

    told: events of each candidate in the order in which they came. Those of a final have a ``seed``, those of a search
    a ``trial``; where there are finals each seed is a line, else the trial that went furthest is the one line.
    """
    drawn = []
    for candidate in record.candidates:
        lines = [line for line in map(_line, _trainings(told.get(candidate.name, ()))) if line["loss"] or line["score"]]
        if lines:
            drawn.append({"name": candidate.name, "baseline": candidate.baseline, "lines": lines})
    return drawn


def _trainings(events: Sequence[Event]) -> list[list[Event]]:
    """The events of each training that is drawn."""
    found: dict[tuple[Any, Any], list[Event]] = {}
    for event in events:
        if _number(event.get("seconds")) and _number(event.get("step")):
            found.setdefault((event.get("seed"), event.get("trial")), []).append(event)
    finals = [list(some) for (seed, _), some in found.items() if seed is not None]
    if finals or not found:
        return finals
    return [max(found.values(), key=lambda some: max(event["step"] for event in some))]


def _line(events: Sequence[Event]) -> dict[str, Any]:
    kinds = (("loss", "loss"), ("score", "valid"))
    points = {
        kind: _thinned([[_short(e["seconds"]), e["step"], _short(e[key])] for e in events if _number(e.get(key))])
        for kind, key in kinds
    }
    return {"seed": events[0].get("seed"), **points}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """At most some hundred points, the first and last among them."""
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(i * step)] for i in range(MOST_POINTS)]
