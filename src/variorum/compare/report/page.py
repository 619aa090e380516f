"""``report.html``: the answer, the trade-off, the table, the curves, what differs, how it was measured."""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import variorum
from variorum.compare import atomic, words
from variorum.compare.answer import sentences, winner
from variorum.compare.candidates import Candidate
from variorum.compare.pareto import front
from variorum.compare.plain import changes, difference
from variorum.compare.record import Record
from variorum.compare.report.columns import AXES, columns, interval
from variorum.compare.report.method import method, settings
from variorum.compare.report.use import uses
from variorum.compare.result import Result, State

POINTS_OF_A_CURVE = 400


def write_report(record: Record, curves: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """Write the report of a comparison; ``curves`` are what each candidate told of its progress."""
    atomic.write(path, render(record, curves))


def render(record: Record, curves: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """The report as HTML. Everything that comes from data is escaped."""
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    def own(name: str) -> str:
        return (files("variorum.compare.report") / name).read_text("utf-8")

    points = _points(record)
    drawn = _curves(record, curves)
    metric = record.data["metric"]
    payload = {
        "metric": metric,
        "percent": metric == "accuracy",
        "higher": record.data["higher_is_better"],
        "axes": [{"key": k, "title": t} for k, t, _ in AXES if any(p[k] is not None for p in points)],
        "points": points,
        "curves": drawn,
    }
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(own("template.html"))
    return template.render(
        answer=sentences(record.ordered, data=record.data["title"]),
        command=command(record),
        curves=drawn,
        data=record.data,
        data_facts=[("kind", record.data["kind"]), *sorted(record.data["facts"].items())],
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        differences=[_difference(c) for c in record.candidates if not c.baseline],
        failed=[_failed(result) for result in record.ordered if result.state is not State.FINISHED],
        heads=columns(metric),
        higher=record.data["higher_is_better"],
        method=method(record),
        metric=metric,
        notes=_notes(record),
        payload=Markup(_script_json(payload)),
        plotly=Markup(get_plotlyjs()) if points or drawn else "",
        points=points,
        rows=[_row(result, record) for result in record.ordered],
        script=Markup(own("report.js")),
        settings=settings(record),
        style=Markup(own("report.css")),
        uses=uses(record) if record.finished else [],
        version=variorum.__version__,
    )


def command(record: Record) -> str:
    """The command line of the comparison."""
    job = record.job
    words_of = [
        "variorum",
        "compare",
        job.data,
        "--minutes",
        f"{job.minutes:g}",
        "--seed",
        str(job.seed),
        "--out",
        str(record.out),
    ]
    words_of += [word for name, value in job.question.asked.items() for word in (f"--{name}", str(value))]
    words_of += ["--systems", ",".join(job.systems)] if job.systems is not None else []
    return shlex.join(words_of)


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _points(record: Record) -> list[dict[str, Any]]:
    points = []
    for r in record.finished:
        hover = [
            (record.data["metric"], words.share(r.quality, metric=r.metric)),
            ("95 % interval", interval(r)),
        ]
        hover += [(title, text(getattr(r, key))) for key, title, text in AXES]
        figures = {key: getattr(r, key) for key, _, _ in AXES}
        points.append({"name": r.name, "baseline": r.baseline, "quality": r.quality, "low": r.low, "high": r.high,
                       "equals_best": bool(r.equals_best), "hover": hover, **figures})  # fmt: skip
    return points


def _curves(record: Record, curves: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    drawn = []
    for candidate in record.candidates:
        events = [e for e in curves.get(candidate.name, ()) if isinstance(e.get("seconds"), int | float)]
        found = {kind: _thinned([[e["seconds"], e[key]] for e in events if isinstance(e.get(key), int | float)])
                 for kind, key in (("loss", "loss"), ("score", "valid"))}  # fmt: skip
        if found["loss"] or found["score"]:
            drawn.append({"name": candidate.name, **found})
    return drawn


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """At most some hundred points, the first and last among them."""
    if len(points) <= POINTS_OF_A_CURVE:
        return points
    step = (len(points) - 1) / (POINTS_OF_A_CURVE - 1)
    return [points[round(i * step)] for i in range(POINTS_OF_A_CURVE)]


def _row(r: Result, record: Record) -> dict[str, Any]:
    best = winner(record.finished)
    cells = []
    for column in columns(record.data["metric"]):
        value = getattr(r, column.key)
        cells.append({"text": column.text(r), "value": "" if value is None else value, "number": column.number})
    badges = [{"text": "plain baseline", "look": "plain"}] if r.baseline else []
    if best is not None and r.name == best.name:
        badges.append({"text": "best", "look": "best"})
    elif r.finished and r.equals_best:
        badges.append({"text": "not distinguishable", "look": "equal"})
    if not r.finished:
        badges.append({"text": str(r.state), "look": "failed"})
    if r.finished and r.name in _on_front(record):
        badges.append({"text": "Pareto", "look": "front"})
    look = "winner" if best is not None and r.name == best.name else "" if r.finished else "failed"
    return {"cells": cells, "badges": badges, "look": look, "title": r.title}


def _on_front(record: Record) -> set[str]:
    """Candidates that no other beats in quality, latency and size at once."""
    sign = -1 if record.data["higher_is_better"] else 1
    known = [r for r in record.finished if r.latency_ms is not None and r.size_bytes is not None]
    costs = [(sign * (r.quality or 0.0), r.latency_ms or 0.0, float(r.size_bytes or 0)) for r in known]
    return {r.name for r, on in zip(known, front(costs), strict=True) if on}


def _failed(r: Result) -> dict[str, str]:
    says = (
        f"failed: {r.error}"
        if r.state is State.FAILED
        else "was not run: the comparison was stopped before. Repeat the command to go on."
    )
    return {"title": r.name, "says": says}


def _difference(candidate: Candidate) -> dict[str, Any]:
    found = difference(candidate.spec)
    return {
        "title": candidate.name,
        "summary": found.summary,
        "where": candidate.where,
        "changes": changes(found.changes),
    }


def _notes(record: Record) -> list[str]:
    notes = list(record.notes)
    if record.data["synthetic"]:
        notes.append("These data were made by a generator.")
    waiting = [r.name for r in record.ordered if r.state is State.WAITING]
    if waiting:
        notes.append(f"Stopped before its end: {', '.join(waiting)} did not run. Repeat the command to go on.")
    return notes
