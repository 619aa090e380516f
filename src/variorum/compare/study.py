"""The whole comparison: a search for every candidate, finals for the best, a last pass over all, the report.

Whatever happens, what is finished is kept: tasks and results stand in the storage, models and figures in the folder,
and Ctrl-C still gets a report.
"""

import time
from contextlib import nullcontext
from pathlib import Path

from variorum.compare import forks, process, storage
from variorum.compare.answer import answer
from variorum.compare.beginning import alone, check_there, prepared
from variorum.compare.budget import Shares
from variorum.compare.job import Job
from variorum.compare.last import close, last_pass
from variorum.compare.live import Watcher
from variorum.compare.on_ray import Cluster
from variorum.compare.queue import Queue
from variorum.compare.record import Record
from variorum.compare.under_way import Study


def run(job: Job, out: Path, watch: Watcher) -> Record:
    """Do what the job asks, or what is left of it; raises :class:`VariorumError` before anything is written."""
    began = time.monotonic()
    forks.get_ready()
    record = prepared(job, out)
    shares = Shares(job.seconds, candidates=len(record.candidates), workers=job.workers)
    if job.steps is None and not record.elapsed:
        shares.check(left=len(record.candidates))
    out.mkdir(parents=True, exist_ok=True)
    with alone(out) if job.storage is None else nullcontext():
        queue = Queue(storage.address(out, job.storage), record.study, shared=job.storage is not None)
        record.results |= queue.results()
        check_there(record)
        watch.began(record, began + job.seconds - record.elapsed)
        for note in (*record.data["notes"], *record.notes):
            watch.says(note)
        cluster = Cluster(job.ray, workers=job.workers) if job.ray is not None else None
        study = Study(record, queue, shares, watch, began - record.elapsed, cluster.run if cluster else process.run)
        record.write()
        try:
            study.search()
            study.finals()
            last_pass(study)
        finally:
            close(study)
            if cluster is not None:
                cluster.close()
    return record


def says(record: Record) -> str:
    """The answer of a comparison."""
    return answer(record.ordered, data=record.data["title"], limits=record.job.limits.to_dict())
