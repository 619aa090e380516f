"""``report.html``: the answer, the trade-off, the table, the curves, what differs, how it was measured."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import variorum
from variorum.compare import atomic, words
from variorum.compare.answer import sentences, winner
from variorum.compare.candidates import Candidate
from variorum.compare.interval import RESAMPLES
from variorum.compare.pareto import front
from variorum.compare.plain import changes, difference
from variorum.compare.record import Record
from variorum.compare.report.use import uses
from variorum.compare.result import Result, State

POINTS_OF_A_CURVE = 400


@dataclass(frozen=True)
class Column:
    """A column of the table: ``text`` of a result as people read it, ``key`` of the figure that it is sorted by."""

    name: str
    key: str
    text: Any
    says: str
    number: bool = True


def columns(metric: str) -> list[Column]:
    """The columns of the table."""
    return [
        Column("candidate", "name", lambda r: r.name, "system or plain baseline", number=False),
        Column(metric, "quality", lambda r: words.share(r.quality, metric=metric), "mean over all held-out rows"),
        Column("95 % interval", "low", lambda r: _interval(r, metric), "where the mean lies, and by which method"),
        Column("latency", "latency_ms", lambda r: words.milliseconds(r.latency_ms), "median, one row, one thread, warm"),
        Column("p95", "latency_p95_ms", lambda r: words.milliseconds(r.latency_p95_ms), "95 of 100 predictions are faster"),
        Column("rows/s", "throughput", lambda r: words.count(r.throughput), "in batches, all threads"),
        Column("memory", "memory_mb", lambda r: words.mebibytes(r.memory_mb), "peak of loading it and predicting a row, libraries not counted"),
        Column("size", "size_bytes", lambda r: words.size(r.size_bytes), "all files of the bundle"),
        Column("parameters", "parameters", lambda r: words.count(r.parameters), "learned by gradient or solver; trees and tables have none"),
        Column("FLOPs", "flops", lambda r: words.count(r.flops), "of one prediction"),
        Column("training", "train_seconds", lambda r: words.span(r.train_seconds), "seconds used"),
        Column("steps", "steps", lambda r: words.count(r.steps), "of its own way of learning"),
        Column("training memory", "train_memory_mb", lambda r: words.mebibytes(r.train_memory_mb), "peak of training, over the process with the data"),
    ]  # fmt: skip


AXES = (
    ("latency_ms", "latency of one prediction in ms", words.milliseconds),
    ("size_bytes", "size on disk in bytes", words.size),
    ("memory_mb", "memory of one prediction in MiB", words.mebibytes),
    ("parameters", "parameters", words.count),
    ("flops", "FLOPs of one prediction", words.count),
    ("train_seconds", "seconds of training", words.span),
)


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
        method=_method(record),
        metric=metric,
        notes=_notes(record),
        payload=Markup(_script_json(payload)),
        plotly=Markup(get_plotlyjs()) if points or drawn else "",
        points=points,
        rows=[_row(result, record) for result in record.ordered],
        script=Markup(own("report.js")),
        settings=_settings(record),
        style=Markup(own("report.css")),
        uses=uses(record) if record.finished else [],
        version=variorum.__version__,
    )


def command(record: Record) -> str:
    """The command line of the comparison."""
    job = record.job
    words_of = ["variorum", "compare", job.data, "--minutes", f"{job.minutes:g}", "--seed", str(job.seed), "--out", str(record.out)]
    words_of += ["--target", job.target] if job.target is not None else []
    words_of += ["--systems", ",".join(job.systems)] if job.systems is not None else []
    return shlex.join(words_of)


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _points(record: Record) -> list[dict[str, Any]]:
    points = []
    for r in record.finished:
        hover = [(record.data["metric"], words.share(r.quality, metric=r.metric)), ("95 % interval", _interval(r, r.metric))]
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


def _interval(r: Result, metric: str | None) -> str:
    return "–" if r.low is None else f"{words.share(r.low, metric=metric)} to {words.share(r.high, metric=metric)}"


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
    says = f"failed: {r.error}" if r.state is State.FAILED else "was not run: the comparison was stopped before. Repeat the command to go on."
    return {"title": r.name, "says": says}


def _difference(candidate: Candidate) -> dict[str, Any]:
    found = difference(candidate.spec)
    return {"title": candidate.name, "summary": found.summary, "where": candidate.where, "changes": changes(found.changes)}


def _notes(record: Record) -> list[str]:
    notes = list(record.notes)
    if record.data["synthetic"]:
        notes.append("These data were made by a generator.")
    waiting = [r.name for r in record.ordered if r.state is State.WAITING]
    if waiting:
        notes.append(f"Stopped before its end: {', '.join(waiting)} did not run. Repeat the command to go on.")
    return notes


def _method(record: Record) -> list[str]:
    granted = [r.granted_seconds for r in record.results.values() if r.granted_seconds is not None]
    ends = [f"{end(granted):.0f}" for end in (min, max)] if granted else ["the same number of"]
    spread = " to ".join(dict.fromkeys(ends))
    intervals = sorted({r.interval for r in record.finished if r.interval})
    together = all(r.interleaved for r in record.finished)
    return [
        f"Every candidate, plain baselines included, was granted an equal part of the budget ({spread} seconds for training and scoring "
        "together); what those with a way of learning of their own did not use was shared among the others. Each ran in a process of its own.",
        "All saw the same split: training rows to learn from, validation rows to choose by, test rows only for the scores here.",
        f"Scores are means over the whole test split; intervals: {', '.join(intervals) or 'none'}. Whether a candidate can be told apart from "
        f"the best: bootstrap of the paired difference over test rows, {RESAMPLES:,} draws, widened for the number of comparisons.",
        "The best of several measured scores flatters itself a little, since it was chosen by these rows; the set that cannot be told apart does not.",
        "Latency: one prepared row, one thread, median of warm calls"
        + (", all candidates taking turns in one fresh process." if together else ", each candidate by itself after its training."),
        "Memory: what a copy of the model, loaded and predicting one row, adds at its peak to a process that has one already, so that "
        "libraries do not count; of training: over the process with the data loaded.",
        "FLOPs: matrix products, convolutions and attention, a multiplication with its addition counted as two.",
    ]


def _settings(record: Record) -> list[tuple[str, str]]:
    job, machine = record.job, record.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    return [
        ("budget", f"{job.minutes:g} minutes; {words.span(record.elapsed)} used"),
        ("seed", str(job.seed)),
        ("processor", f"{machine['processor']}, {machine['cores']} cores; {job.workers} candidates trained at a time, on one thread each"),
        ("memory", f"{machine['memory_gb']} GiB"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("versions", versions),
    ]
