"""A finished comparison made by hand, for what is done with one."""

from pathlib import Path
from typing import Any

from variorum.compare.candidates import Candidate
from variorum.compare.job import Job
from variorum.compare.record import Record
from variorum.compare.result import Result, State
from variorum.core import find_entry
from variorum.models.linear import LinearModel
from variorum.train.descent import Descent

MACHINE = {
    "processor": "A processor", "cores": 2, "logical_cores": 4, "usable_cores": 4, "memory_gb": 8.0, "system": "Linux",
    "python": "3.11", "versions": {"torch": "2.13.0", "plotly": None},
}  # fmt: skip

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u2028b & <b>bold</b> 'quoted' \"twice\"",
    "<a href='javascript:alert(1)'>name</a>",
]
CURVES = {"cct": [{"step": i, "loss": 2.0 / i, "valid": 1 - 1 / i, "seconds": 0.1 * i} for i in range(1, 1000)]}
PNG = "data:image/png;base64,iVBORw0KGgo="


def result(name: str, quality: float | None, **more: Any) -> Result:
    figures = {"low": quality - 0.02, "high": quality + 0.01, "interval": "Wilson"} if quality is not None else {}
    known = {
        "baseline": False, "title": f"The {name}", "metric": "accuracy", "state": State.FINISHED, "latency_ms": 1.0,
        "latency_p95_ms": 1.5, "interleaved": True, "size_bytes": 1000, "parameters": 10, "flops": 100,
        "memory_mb": 1.5, "train_seconds": 3.0, "steps": 7, "granted_seconds": 4.0, "equals_best": False,
    }  # fmt: skip
    return Result(name=name, quality=quality, **{**known, **figures, **more})


def record(out: Path, results: list[Result], *, title: str = "digits", **data: Any) -> Record:
    spec = find_entry("cct").fit("images")
    candidates = [
        Candidate(r.name, r.title, (LinearModel.spec() if r.baseline else spec,), Descent.spec(), r.baseline, "m:f")
        for r in results
    ]
    facts = {
        "title": title, "kind": "images", "metric": "accuracy", "higher_is_better": True, "synthetic": False,
        "notes": [], "facts": {"classes": 3}, "fingerprint": "f", **data,
    }  # fmt: skip
    return Record(out, Job(title, workers=2), facts, MACHINE, candidates, {r.name: r for r in results}, elapsed=12.0)


def finished(out: Path, **data: Any) -> Record:
    results = [
        result("cct", 0.9, equals_best=True, latency_ms=2.0),
        result("linear", 0.89, baseline=True, title="a linear model", equals_best=True, latency_ms=0.1),
        result("vit", 0.5, latency_ms=9.0),
        result("broken", None, state=State.FAILED, error="it broke"),
    ]
    return record(out, results, **data)


def gallery(text: str = "cat", **row: Any) -> dict[str, Any]:
    """A gallery of every kind of row, in which all that comes from data is ``text``."""
    shown = [
        {"true": text, "said": "dog", "sure": 0.9, "image": PNG},
        {"true": text, "said": text, "sure": 0.5, "text": text, "written": text},
        {"true": 1.5, "said": 2.25, "features": [[text, text], ["b", None]], "more": 3},
        {"true": text, "said": "dog", "sure": 0.4, "lines": [[1.0, None, 2.0], [0.0, 0.5, 1.0]]},
        {"true": text, "said": "dog", "sure": 0.4, "points": [[0.0, 1.0], [1.0, 0.0]]},
        {"true": text, "said": "dog", "sure": 0.4, "loudness": [0.1, 1.0], "seconds": 0.5, "name": text,
         "sound": "data:audio/wav;base64,UklGRg=="},
        {"score": 1.25, "name": text, "known": [1.0, 2.0], "truth": [2.0, None], "forecast": [2.0, 3.0],
         "steps": [2, 2]},
        row,
    ]  # fmt: skip
    return {
        "rows": 20, "of": 40, "title": "Hardest rows", "shown": shown, "confused": [[text, "dog", 2]],
        "confusion": {"labels": [text, "dog"], "counts": [[8, 2], [0, 10]], "classes": 2},
        "scatter": {"true": [1.0, 2.0], "said": [1.5, 1.0]},
    }  # fmt: skip
