"""``report.html``: the answer, the trade-off, the table, the curves, what differs, how it was measured."""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from variorum.compare import atomic
from variorum.compare.answer import sentences, winner
from variorum.compare.candidates import Candidate
from variorum.compare.plain import changes, difference
from variorum.compare.record import Record
from variorum.compare.report.columns import Group, columns
from variorum.compare.report.curves import Event, curves
from variorum.compare.report.galleries import galleries as shown
from variorum.compare.report.method import method, settings
from variorum.compare.report.points import axes, points
from variorum.compare.report.rows import failed, rows, table
from variorum.compare.report.templates import beside, page
from variorum.compare.report.use import uses
from variorum.compare.result import State

SCRIPTS = ("common.js", "theme.js", "plots.js", "pareto.js", "curves.js", "table.js", "galleries.js", "copy.js")
"""In the order in which they run, in one scope."""
NO_GALLERIES: Mapping[str, Mapping[str, Any]] = {}


def write_report(
    record: Record, told: Mapping[str, Sequence[Event]], path: Path, *,
    galleries: Mapping[str, Mapping[str, Any]] = NO_GALLERIES,
) -> None:  # fmt: skip
    """Write the report of a comparison.

    told: what each candidate told of its progress (see :func:`variorum.compare.report.curves.curves`).
    galleries: by candidate, what :func:`variorum.compare.gallery.gallery` gives.
    """
    atomic.write(path, render(record, told, galleries=galleries))


def render(
    record: Record, told: Mapping[str, Sequence[Event]], *, galleries: Mapping[str, Mapping[str, Any]] = NO_GALLERIES
) -> str:
    """The report as HTML. Everything that comes from data is escaped."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    data, places, lines = record.data, points(record), curves(record, told)
    heads = columns(data["metric"], list(record.results.values()))
    seen, left_out = shown(record, galleries)
    payload = {
        "title": data["title"],
        "metric": data["metric"],
        "percent": data["metric"] == "accuracy",
        "axes": axes(record),
        "points": places,
        "curves": lines,
        "table": table(record),
        "scatters": {one["name"]: one["scatter"] for one in seen if one["scatter"]},
    }
    return page(
        "page.html",
        answer=sentences(record.ordered, data=data["title"], limits=record.job.to_dict().get("limits")),
        best=winner(record.finished),
        command=command(record),
        curves=lines,
        data=data,
        data_facts=[("kind", data["kind"]), *sorted(data["facts"].items())],
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        differences=[_difference(c) for c in record.candidates if not c.baseline],
        failed=[failed(result) for result in record.ordered if not result.finished],
        galleries=seen,
        groups=[group for group in Group if any(head.group is group for head in heads[1:])],
        heads=heads,
        left_out=left_out,
        method=method(record),
        notes=_notes(record),
        out=any(place["standing"] == "out" for place in places),
        payload=Markup(_script_json(payload)),
        plotly=Markup(get_plotlyjs()) if places or lines else "",
        points=places,
        rows=rows(record, heads),
        script=Markup(f'"use strict";\n(() => {{\n{"".join(map(beside, SCRIPTS))}}})();'),
        settings=settings(record),
        uses=uses(record),
    )


def command(record: Record) -> str:
    """The command line of the comparison."""
    job = record.job
    budget = {"minutes": f"{job.minutes:g}"} if job.steps is None else {"steps": job.steps}
    limits = {"latency": job.limits.latency_ms, "memory": job.limits.memory_mb, "size": job.limits.size_bytes}
    units = {"latency": "ms", "memory": "MiB", "size": "B"}
    options = {
        **budget,
        **{name: f"{value:g}{units[name]}" for name, value in limits.items() if value is not None},
        "match": job.match,
        "seed": job.seed,
        "out": record.out,
        **job.question.asked,
    }
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    given += ["--systems", ",".join(job.systems)] if job.systems is not None else []
    return shlex.join(["variorum", "compare", job.data, *given])


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


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
