"""The rows of the report's table."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.pareto import front
from variorum.compare.record import Record
from variorum.compare.report.columns import Column
from variorum.compare.report.points import standing
from variorum.compare.result import Result, State

_STANDING = {"best": "best", "equal": "not distinguishable", "out": "over a limit"}


def rows(record: Record, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Each candidate as cells, badges, and the words that it is found by."""
    on_front, finals = _on_front(record), any(r.finalist for r in record.results.values())
    return [_row(r, record, columns, on_front, finals) for r in record.ordered]


def table(record: Record) -> dict[str, Any]:
    """All figures in full, for a download: the columns of ``results.csv`` and each candidate's values."""
    names = Result.columns()
    values = {r.name: [_full(r.to_dict()[name]) for name in names] for r in record.ordered}
    return {"columns": names, "rows": values}


def failed(r: Result) -> dict[str, str]:
    """Why a candidate has no place in the comparison."""
    if r.state is State.OUT:
        says = f"is over a limit: {r.over}" if r.over else "is over a limit."
    elif r.state is State.FAILED:
        says = f"failed: {r.error}"
    else:
        says = "was not run: the comparison was stopped before. Repeat the command to go on."
    return {"title": r.name, "says": says, "look": str(r.state)}


def _row(r: Result, record: Record, columns: Sequence[Column], on_front: set[str], finals: bool) -> dict[str, Any]:
    cells = []
    for column in columns:
        value = getattr(r, column.key)
        cells.append({"text": column.text(r), "value": "" if value is None else value, "number": column.number,
                      "group": column.group})  # fmt: skip
    badges = _badges(r, record, on_front=on_front, finals=finals)
    kind = "plain baseline" if r.baseline else "system transformer"
    look = "winner" if badges and badges[0]["look"] == "best" else "" if r.finished else "failed"
    find = " ".join([r.name, r.title, kind, r.state, *(badge["text"] for badge in badges)]).lower()
    return {"name": r.name, "cells": cells, "badges": badges, "look": look, "title": r.title, "find": find}


def _badges(r: Result, record: Record, *, on_front: set[str], finals: bool) -> list[dict[str, str]]:
    place = standing(r, record) if r.finished or r.state is State.OUT else ""
    badges = [{"text": _STANDING[place], "look": place, "says": r.over or ""}] if place in _STANDING else []
    if r.baseline:
        badges.append({"text": "plain baseline", "look": "plain", "says": "no Transformer"})
    if r.state not in (State.FINISHED, State.OUT):
        badges.append({"text": str(r.state), "look": "failed", "says": r.error or ""})
    if r.name in on_front:
        says = "no other is better in one of score, latency and size without being worse in another"
        badges.append({"text": "Pareto", "look": "front", "says": says})
    if finals and r.finished and not r.finalist:
        says = "its score is that of one seed, the best model of its search"
        badges.append({"text": "did not reach the final", "look": "plain", "says": says})
    return badges


def _on_front(record: Record) -> set[str]:
    """Candidates that no other beats in quality, latency and size at once."""
    sign = -1 if record.data["higher_is_better"] else 1
    known = [r for r in record.finished if r.latency_ms is not None and r.size_bytes is not None]
    costs = [(sign * (r.quality or 0.0), r.latency_ms or 0.0, float(r.size_bytes or 0)) for r in known]
    return {r.name for r, on in zip(known, front(costs), strict=True) if on}


def _full(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
