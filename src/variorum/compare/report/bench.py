"""``report.html`` of a benchmark: scores by task, a picture of score over speed, and what a step costs by length."""

from typing import TYPE_CHECKING, Any

from variorum.compare import words
from variorum.compare.report.templates import page

if TYPE_CHECKING:
    from variorum.compare.benches.outcome import Outcome, Scored

WIDTH, HEIGHT, LEFT, BELOW = 760.0, 320.0, 56.0, 44.0
"""Of the picture, in its own units, and the room for its axes."""
LARGEST = 22.0
"""Radius of the circle of the system with the most memory."""


def render(outcome: "Outcome") -> str:
    """The page, one file that asks for nothing. Everything that comes from data is escaped."""
    return page(
        "bench.html", outcome=outcome, scores=_scores(outcome), costs=_costs(outcome), picture=picture(outcome),
        failed=[(" ".join(pair), why) for pair, why in sorted(outcome.failed.items())],
    )  # fmt: skip


def _scores(outcome: "Outcome") -> list[dict[str, Any]]:
    found = {task: outcome.scored(task) for task in outcome.tasks}
    rows = []
    for system in outcome.systems:
        average = outcome.average(system)
        cells = [_cell(found[task].get(system)) for task in outcome.tasks]
        one = next((found[task][system] for task in outcome.tasks if system in found[task]), None)
        rows.append({"name": system, "cells": cells, "average": words.share(average, metric="accuracy"),
                     "parameters": words.count(one.parameters) if one else "–"})  # fmt: skip
    return rows


def _cell(one: "Scored | None") -> dict[str, Any]:
    if one is None:
        return {"text": "–", "says": "not measured", "level": False}
    low, high = (words.share(end, metric="accuracy") for end in (one.interval.low, one.interval.high))
    says = f"{low} to {high} ({one.interval.method}); {one.seeds} seeds of {one.steps} steps, "
    says += f"{words.number(one.steps_per_second)} steps/s, {one.parameters:,} parameters"
    return {"text": words.share(one.score, metric="accuracy"), "range": f"{low} – {high}", "says": says,
            "level": one.level}  # fmt: skip


def _costs(outcome: "Outcome") -> list[dict[str, Any]]:
    exponents = outcome.exponents()
    rows = []
    for name, (time, memory) in exponents.items():
        cells = []
        for n in outcome.lengths:
            took, held = outcome.seconds.get(name, {}).get(n), outcome.memory.get(name, {}).get(n)
            slower, more = outcome.relative(outcome.seconds, name, n), outcome.relative(outcome.memory, name, n)
            cells.append({
                "speed": "–" if slower is None else f"{1 / slower:.2f}",
                "memory": "–" if more is None else f"{more:.2f}",
                "says": "not measured" if took is None or held is None
                        else f"{words.number(1 / took)} steps/s, {words.number(held)} MiB",
            })  # fmt: skip
        rows.append({"name": name, "cells": cells, "time": _power(time), "memory": _power(memory)})
    return rows


def _power(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def picture(outcome: "Outcome") -> dict[str, Any] | None:
    """Circles: relative speed at the longest row that the plain system could take, average score, memory as area."""
    lengths = [n for n in outcome.lengths if n in outcome.seconds.get(outcome.plain, {})]
    if not lengths:
        return None
    n = max(lengths)
    points = []
    for system in outcome.systems:
        slower, held = outcome.relative(outcome.seconds, system, n), outcome.memory.get(system, {}).get(n)
        average = outcome.average(system)
        if slower and held and average is not None:
            points.append((system, 1 / slower, average, held))
    if len(points) < 2:
        return None
    fastest, most = max(p[1] for p in points), max(p[3] for p in points)
    low, high = min(p[2] for p in points), max(p[2] for p in points)
    span = (high - low) or 1.0
    circles = [
        {
            "name": name,
            "x": round(LEFT + LARGEST + (WIDTH - LEFT - 6 * LARGEST) * speed / fastest, 1),
            "y": round(HEIGHT - BELOW - LARGEST - (HEIGHT - BELOW - 2 * LARGEST) * (score - low) / span, 1),
            "r": round(max(3.0, LARGEST * (held / most) ** 0.5), 1),
            "says": f"{name}: {words.share(score, metric='accuracy')}, {speed:.2f} times the speed, "
                    f"{words.number(held)} MiB",
        }
        for name, speed, score, held in points
    ]  # fmt: skip
    return {"circles": circles, "width": WIDTH, "height": HEIGHT, "length": n, "left": LEFT, "below": BELOW,
            "low": words.share(low, metric="accuracy"), "high": words.share(high, metric="accuracy"),
            "fastest": f"{fastest:.2f}", "end": round(WIDTH - 5 * LARGEST, 1)}  # fmt: skip
