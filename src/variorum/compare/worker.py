"""One candidate trained and measured, in a process of its own (see ``process``).

Its folder holds ``job.json``. At the end ``bundle/``, ``scores.safetensors`` and ``result.json`` stand there, the last
only if all is well: a candidate without it has failed. Its peak memory is its own; when it crashes nothing else does.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from variorum.compare import atomic
from variorum.compare.budget import LEAST_SECONDS
from variorum.compare.candidates import Candidate
from variorum.compare.flops import flops
from variorum.compare.interval import Scores
from variorum.compare.job import Job
from variorum.compare.latency import quick
from variorum.compare.measure import BATCH, folder_bytes, parameters, row_lengths, score
from variorum.compare.memory import Peak
from variorum.compare.process import Tell
from variorum.core import Part
from variorum.data.readers.reader import load_task
from variorum.data.task import Task
from variorum.runtime.bundle import Bundle, load, save
from variorum.train.recipe import Budget, Run

JOB, RESULT, SCORES, BUNDLE, CHECKPOINTS = "job.json", "result.json", "scores.safetensors", "bundle", "checkpoints"
MOST_FOR_SCORING = 0.7
"""At most this part of a candidate's seconds is set aside for scoring it on the held-out rows."""

TRIED = 16
"""Rows that scoring is tried out with."""


@dataclass(frozen=True)
class Work:
    """What a worker is asked: ``seconds`` are for training and held-out scoring together."""

    job: Job
    candidate: Candidate
    seconds: float

    def write(self, folder: Path) -> None:
        """Write ``job.json``."""
        tree = {"job": self.job.to_dict(), "candidate": self.candidate.to_dict(), "seconds": self.seconds}
        atomic.write(folder / JOB, json.dumps(tree, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Work":
        """Read ``job.json``."""
        tree = json.loads((folder / JOB).read_text("utf-8"))
        return cls(Job.from_dict(tree["job"]), Candidate.from_dict(tree["candidate"]), tree["seconds"])


def work(folder: Path, tell: Tell) -> None:
    """Train, save, load again and measure the candidate that the folder's ``job.json`` names."""
    entered = time.monotonic()
    given = Work.read(folder)
    # Small models learn faster side by side on one thread each than one after another on all of them.
    torch.set_num_threads(1)
    tell({"stage": "reading"})
    task = load_task(given.job.data, given.job.question, seed=given.job.seed)
    tell({"stage": "training", "metric": task.metric})
    began = time.monotonic()
    scoring = scoring_seconds(given.candidate, task, given.seconds)
    seconds = max(LEAST_SECONDS, given.seconds - scoring - (time.monotonic() - began))
    training = time.monotonic()
    model, peak, last = train(given, task, folder, seconds, tell)
    trained = time.monotonic() - training
    tell({"stage": "scoring"})
    save(Bundle.of(model, task, provenance=provenance(given, task, trained)), folder / BUNDLE)
    del model
    measured = measure(folder, task)
    found = {"metric": task.metric, "train_memory_mb": peak, "train_seconds": trained, "steps": last.get("step"),
             "start_seconds": began - entered, **measured}  # fmt: skip
    atomic.write(folder / RESULT, json.dumps(found, indent=1, allow_nan=False) + "\n")
    tell({"stage": "done"})


def train(given: Work, task: Task, folder: Path, seconds: float, tell: Tell) -> tuple[Part, float, dict[str, Any]]:
    """The trained model, the peak of memory in MiB, and the last that was told."""
    last: dict[str, Any] = {}

    def report(event: dict[str, Any]) -> None:
        last.update(event)
        tell(event)

    torch.manual_seed(given.job.seed)
    run = Run(Budget(seconds=seconds), seed=given.job.seed, folder=folder / CHECKPOINTS, report=report)
    with Peak() as peak:
        model = given.candidate.recipe.build().train(given.candidate.spec, task, run)
    return model, peak.mib, last


def measure(folder: Path, task: Task) -> dict[str, Any]:
    """Figures of the bundle as it was saved: what is measured is what the user gets."""
    model = load(folder / BUNDLE).model
    scores = score(model, task)
    save_file({"sums": scores.sums, "counts": scores.counts}, folder / SCORES)
    example = next(iter(task.held_out("test", 1))).inputs
    median, high = quick(model, example)
    return {
        "quality": scores.mean,
        "parameters": parameters(model),
        "flops": flops(model, example),
        "size_bytes": folder_bytes(folder / BUNDLE),
        "latency_ms": median,
        "latency_p95_ms": high,
        "interleaved": False,
    }


def read_scores(folder: Path) -> Scores:
    """The held-out scores that a worker wrote."""
    found = load_file(folder / SCORES)
    return Scores(np.asarray(found["sums"]), np.asarray(found["counts"]))


def scoring_seconds(candidate: Candidate, task: Task, seconds: float) -> float:
    """Seconds that scoring the test rows will take, tried out on the untrained model where the spec is that model."""
    if not candidate.recipe.cls.keeps_spec:  # what its recipe will make of the spec, and of what size, is not known yet
        return 0.05 * seconds
    model = candidate.spec.fill(**task.facts).build().eval()
    rows = sum(len(row_lengths(batch.inputs)) for batch in task.held_out("test", BATCH))
    tried = next(iter(task.held_out("test", TRIED)))
    with torch.inference_mode():
        model(**tried.inputs)  # the first call also sets things up
        began = time.monotonic()
        model(**tried.inputs)
        each = (time.monotonic() - began) / len(row_lengths(tried.inputs))
    return min(MOST_FOR_SCORING * seconds, 1.25 * each * rows + 0.3)


def provenance(given: Work, task: Task, trained: float) -> dict[str, Any]:
    """Where a bundle comes from, as JSON values."""
    return {
        "system": given.candidate.name,
        "data": given.job.title,
        **given.job.question.asked,
        "metric": task.metric,
        "seed": given.job.seed,
        "recipe": str(given.candidate.recipe),
        "train_seconds": round(trained, 1),
        "torch": torch.__version__,
    }
