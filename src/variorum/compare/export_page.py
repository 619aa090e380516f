"""``EXPORT.md``: which systems can be exported, in which forms, and why others cannot."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from variorum.compare.exported import Exported, kind_of, mark, systems
from variorum.core import find_entry
from variorum.runtime.forms import Form

PAGE = "EXPORT.md"

HEADER = """# Export

What `variorum export BUNDLE --to FORM` makes of each system, tried at laptop size with weights drawn at random. Written
by `variorum export --table --write` from outcomes that are kept with the edition; `variorum export --system NAME` tries
one again.

- `onnx`: the whole model; the batch, and for texts and series the length, are free.
- `onnx-step`: one step of a streaming model: the next piece and all states in (`before.NAME`), answers and states out
  (`after.NAME`); the batch, and what caches hold, are free.
- `onnx-memory`: of a streaming model with a source, what makes the `memory` that its steps attend to.
- `pt2` and `pt2-step`: the same as programs of torch.export, which `torch.export.load` reads without Variorum.

A figure is the largest difference from the model over all runs: ONNX in onnxruntime, programs after they were read from
the file, each with several batch sizes and lengths, steps over streams of up to 20 pieces. A file that differs by more
than 1e-4 of the largest answer is not handed over. 0: no bit differs. "no": the reason stands below the table. A dash:
the model does not stream, or has no source. The last line counts the files that were made, of those tried.
"""
WHY = """## Why not

A part whose traits say that it does not export is refused before anything is written: its shapes depend on the tokens,
as those of chosen experts do, or it has loops or transforms that a graph for rows of any length cannot hold. Such a
model is used as a bundle (`variorum predict`, `variorum serve`), or its spec is changed to name another part.
"""
STALE, UNTRIED = "changed since it was tried", "not tried"
REFUSED, NONE = "no", "–"


def page(found: Iterable[Exported]) -> str:
    """The page of these outcomes, and of the systems that have none."""
    outcomes = {outcome.system: outcome for outcome in found}
    rows: list[list[str]] = []
    reasons: list[str] = []
    apart: dict[str, list[str]] = {}
    for system in systems():
        kind = kind_of(system)
        if kind is None:
            apart.setdefault(_apart(system), []).append(f"`{system}`")
            continue
        cells, more = _cells(outcomes.get(system), kind)
        rows.append([f"`{system}`", kind, *cells])
        reasons += more
    lines = [HEADER, _line(["system", "data", *(f"`{form}`" for form in Form)]), "|---" * (2 + len(Form)) + "|"]
    lines += [*map(_line, rows), _line([f"**{len(rows)} systems**", "", *_counts(rows)])]
    if reasons:
        lines += ["", WHY, *reasons]
    if apart:
        lines += ["", "## Not tried", ""]
        lines += [f"- {why}: {', '.join(names)}." for why, names in sorted(apart.items())]
    return "\n".join([*lines, *_tried_with(outcomes.values())]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _counts(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Of each form, in how many rows it was made, of those that could have it."""
    for cells in zip(*(row[2:] for row in rows), strict=True):
        could = [cell for cell in cells if cell not in (NONE, STALE, UNTRIED)]
        yield f"{sum(cell != REFUSED for cell in could)} of {len(could)}"


def _tried_with(outcomes: Iterable[Exported]) -> list[str]:
    """A line for each set of versions, and from when to when it was in use."""
    dates: dict[str, list[str]] = {}
    for outcome in outcomes:
        used = ", ".join(f"{name} {number}" for name, number in outcome.versions.items())
        dates.setdefault(used, []).append(outcome.date)
    spans = {used: " to ".join(sorted({min(days), max(days)})) for used, days in sorted(dates.items())}
    return ["", *(f"Tried {span} with {used}." for used, span in spans.items())] if spans else []


def _cells(outcome: Exported | None, kind: str) -> tuple[list[str], list[str]]:
    """A cell for each form, and a line for each reason."""
    if outcome is None:
        return [UNTRIED] * len(Form), []
    if outcome.data != kind or outcome.spec != mark(outcome.system, kind):
        return [STALE] * len(Form), []
    why: dict[str, list[str]] = {}
    for form, made in outcome.made.items():
        if isinstance(made, str):
            why.setdefault(made, []).append(f"`{form}`")
    forms = {reason: "all forms" if len(of) == len(outcome.made) else ", ".join(of) for reason, of in why.items()}
    cells = [_cell(outcome.made.get(form)) for form in Form]
    return cells, [f"- `{outcome.system}`, {of}: {reason}" for reason, of in forms.items()]


def _cell(made: dict[str, Any] | str | None) -> str:
    if made is None:
        return NONE
    if isinstance(made, str):
        return REFUSED
    return f"{made['difference']:.0e}" if made["difference"] else "0"


def _apart(system: str) -> str:
    """Why nothing of a system can be tried."""
    entry = find_entry(system)
    if entry.fits:
        return f"Laptop sizes only for {', '.join(sorted(entry.fits))}, of which the edition has no set"
    if entry.sizes:
        return "Published sizes only; the parts they are made of are held to their promise by `variorum check --slow`"
    return "No model"
