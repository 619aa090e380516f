"""The whole comparison: candidates one after another within the budget, a last pass over all, the report.

Whatever happens, what is finished is kept: the record is written after every candidate, and Ctrl-C still gets a report.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from variorum.compare import atomic, latency, process, worker
from variorum.compare.answer import answer, winner
from variorum.compare.budget import LEAST_SECONDS, Shares
from variorum.compare.candidates import Candidate, candidates
from variorum.compare.fingerprint import fingerprint
from variorum.compare.interval import equals_best, interval
from variorum.compare.job import Job
from variorum.compare.live import Watcher
from variorum.compare.machine import describe
from variorum.compare.record import Record
from variorum.compare.report.page import write_report
from variorum.compare.result import Result, State
from variorum.data.readers.reader import load_task
from variorum.data.task import Task

EVENTS, LOG, WINNER, REPORT = "events.jsonl", "log.txt", "winner", "report.html"


def run(job: Job, out: Path, watch: Watcher) -> Record:
    """Do what the job asks, or what is left of it; raises :class:`VariorumError` before anything is written."""
    began = time.monotonic()
    process.get_ready()
    record = _prepare(job, out)
    waiting = record.waiting
    shares = Shares(job.seconds, candidates=len(record.candidates), workers=min(job.workers, max(1, len(waiting))))
    if waiting and not record.elapsed:
        shares.check(left=len(waiting))
    watch.began(record, began + job.seconds - record.elapsed)
    for note in (*record.data["notes"], *record.notes):
        watch.says(note)
    study = _Study(record, shares, watch, began - record.elapsed)
    record.write()
    try:
        study.train(waiting)
        study.last_pass()
    finally:
        study.close()
    return record


def _prepare(job: Job, out: Path) -> Record:
    """The record of a new comparison, or of the one begun in the folder."""
    task = load_task(job.data, job.question, seed=job.seed)
    data = _describe(job, task)
    before = Record.read(out)
    if before is not None:
        before.check_same(job, data)
        return before
    taking_part, left_out = candidates(task, systems=job.systems)
    results = {c.name: Result(c.name, c.title, c.baseline, metric=task.metric) for c in taking_part}
    return Record(out, job, data, describe(), taking_part, results, notes=left_out)


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


class _Study:
    """A comparison under way; ``start`` is when it would have begun had it never been interrupted."""

    def __init__(self, record: Record, shares: Shares, watch: Watcher, start: float) -> None:
        self.record, self.shares, self.watch, self.start = record, shares, watch, start
        self.stop, self._writing = threading.Event(), threading.Lock()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def train(self, waiting: list[Candidate]) -> None:
        """Train the brief candidates, then share what is left among the others."""
        brief, rest = [c for c in waiting if c.brief], [c for c in waiting if not c.brief]
        for phase, taking_part, left in (("brief", brief, len(waiting)), ("rest", rest, len(rest))):
            if taking_part:
                share = self.record.shares.setdefault(phase, round(self.shares.share(self.elapsed, left=left), 2))
                self._phase(taking_part, share)

    def _phase(self, taking_part: list[Candidate], share: float) -> None:
        """Run candidates in processes of their own, some at a time. Ctrl-C stops those that run."""
        with ThreadPoolExecutor(self.shares.workers) as pool:
            running = [pool.submit(self._one, candidate, share) for candidate in taking_part]
            try:
                for future in as_completed(running):
                    future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _one(self, candidate: Candidate, share: float) -> None:
        """Run one candidate in a process of its own and keep what came of it."""
        granted = self.shares.granted(share, self.elapsed)
        result = self.record.results[candidate.name].but(
            state=State.RUNNING, granted_seconds=round(max(granted, 0.0), 2)
        )
        if granted < LEAST_SECONDS:
            self._keep(result.but(state=State.FAILED, error="no time was left for it: give more --minutes"))
            return
        self._keep(result)
        folder = self.record.folder(candidate.name)
        worker.Work(self.record.job, candidate, granted).write(folder)
        told: dict[str, Any] = {}
        with (folder / EVENTS).open("a", encoding="utf-8") as events:

            def hear(event: dict[str, Any]) -> None:
                told.update(event)
                events.write(json.dumps(event) + "\n")
                self.watch.told(candidate.name, event)

            limit = self.shares.limit(granted, self.elapsed)
            code, end = process.run(worker.work, folder, log=folder / LOG, seconds=limit, told=hear, stop=self.stop)
        if end is process.End.STOPPED:
            return
        if code == 0 and (folder / worker.RESULT).exists():
            found = json.loads((folder / worker.RESULT).read_text("utf-8"))
            self.shares.learn(found.pop("start_seconds"))
            span = interval(worker.read_scores(folder), seed=self.record.job.seed)
            self._keep(result.but(state=State.FINISHED, low=span.low, high=span.high, interval=span.method, **found))
            return
        late = end is process.End.LATE
        why = "it did not end within its part of the budget" if late else told.get("error") or process.says_exit(code)
        self._keep(result.but(state=State.FAILED, error=f"{why} (log: {self._short(folder / LOG)})"))

    def _short(self, path: Path) -> str:
        return path.relative_to(self.record.out).as_posix()

    def last_pass(self) -> None:
        """Time all finished candidates side by side in a fresh process, and measure the memory of each."""
        record, finished = self.record, self.record.finished
        if not finished or all(result.interleaved for result in finished):
            return
        self.watch.says(f"Timing {len(finished)} candidates side by side")
        seconds = max(1.0, min(0.8 * len(finished), record.job.seconds - self.elapsed - 3.0))
        bundles = {result.name: str(record.folder(result.name) / worker.BUNDLE) for result in finished}
        asked = {"job": record.job.to_dict(), "bundles": bundles, "seconds": seconds}
        atomic.write(record.out / latency.ASKED, json.dumps(asked) + "\n")
        limit = self.shares.last_limit(self.elapsed)
        code, end = process.run(latency.last_pass, record.out, log=record.out / LOG, seconds=limit,
                                told=lambda event: None, stop=self.stop)  # fmt: skip
        if code != 0:
            why = "took too long" if end is process.End.LATE else process.says_exit(code)
            record.notes.append(f"The last pass {why} (see {LOG}): latencies are those of each candidate by itself, "
                                "and memory and throughput were not measured.")  # fmt: skip
            return
        found = json.loads((record.out / latency.FOUND).read_text("utf-8"))
        for name, figures in found.items():
            record.results[name] = record.results[name].but(**figures)

    def close(self) -> None:
        """Compare the finished ones, copy the winner, write everything."""
        record = self.record
        for result in record.results.values():
            if result.state is State.RUNNING:
                record.results[result.name] = result.but(state=State.WAITING)
        finished = record.finished
        if finished:
            scores = [worker.read_scores(record.folder(result.name)) for result in finished]
            equal = equals_best(scores, 0, seed=record.job.seed)
            for result, same in zip(finished, equal, strict=True):
                record.results[result.name] = result.but(equals_best=same)
        best = winner(record.finished)
        if best is not None:
            atomic.copy_folder(record.folder(best.name) / worker.BUNDLE, record.out / WINNER)
        record.elapsed = self.elapsed
        record.write()
        write_report(record, self.curves(), record.out / REPORT)

    def curves(self) -> dict[str, list[dict[str, Any]]]:
        """What every candidate told of its progress."""
        told = {}
        for candidate in self.record.candidates:
            path = self.record.folder(candidate.name) / EVENTS
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            told[candidate.name] = [event for event in map(json.loads, lines) if "step" in event]
        return told

    def _keep(self, result: Result) -> None:
        with self._writing:
            self.record.elapsed = self.elapsed
            self.record.put(result)
            self.watch.changed(result)


def says(record: Record) -> str:
    """The answer of a comparison."""
    return answer(record.ordered, data=record.data["title"])
