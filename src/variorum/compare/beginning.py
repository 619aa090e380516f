"""How a comparison begins: what is asked is held against the data, and against what its folder holds already."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from variorum.compare import match, worker
from variorum.compare.candidates import candidates
from variorum.compare.fingerprint import fingerprint
from variorum.compare.job import Job
from variorum.compare.machine import describe
from variorum.compare.record import Record
from variorum.compare.result import Result
from variorum.core import VariorumError
from variorum.data.readers.reader import load_task
from variorum.data.task import Task

LOCK = ".lock"


def prepared(job: Job, out: Path) -> Record:
    """The record of a new comparison, or of the one begun in the folder."""
    task = load_task(job.data, job.question, seed=job.seed)
    data = _describe(job, task)
    before = Record.read(out)
    if before is not None:
        before.check_same(job, data)
        return before
    taking_part, left_out = candidates(task, systems=job.systems)
    if job.match is match.Match.PARAMETERS:
        taking_part = match.of_one_size(taking_part, task)
    results = {c.name: Result(c.name, c.title, c.baseline, metric=task.metric) for c in taking_part}
    record = Record(out, job, data, describe(), taking_part, results, notes=left_out)
    if job.match is match.Match.FLOPS and job.steps is not None:
        record.flops = match.common_flops(taking_part, task, steps=job.steps)
    return record


def _describe(job: Job, task: Task) -> dict[str, Any]:
    return {
        "title": job.title,
        "kind": task.reads,
        "metric": task.metric,
        "higher_is_better": task.higher_is_better,
        "synthetic": task.synthetic,
        "notes": list(task.notes),
        "facts": {name: value for name, value in task.facts.items() if isinstance(value, int | float | str)},
        "fingerprint": fingerprint(job.data),
    }


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Held while the comparison runs: two may work on one folder only if they share a storage."""
    try:
        with FileLock(out / LOCK).acquire(blocking=False):
            yield
    except Timeout:
        raise VariorumError(str(out), expected="a folder that no other comparison works in", found="one that does",
                            do="Wait for it, choose another --out, or share a --storage.") from None  # fmt: skip


def check_there(record: Record) -> None:
    """Raise :class:`VariorumError` if the storage knows of models that the folder does not hold."""
    for result in record.finished:
        if not (record.folder(result.name) / worker.RESULT).exists():
            raise VariorumError(f"{record.out}", expected=f"{result.name}, which the storage says is finished",
                                found="nothing of it", do="Give the --out that holds this comparison, which machines "
                                "must share as they share the --storage, or a new name to begin anew.")  # fmt: skip
