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
