"""The whole comparison: a search for every candidate, finals for the best, a last pass over all, the report.

Whatever happens, what is finished is kept: tasks and results stand in the storage, models and figures in the folder,
and Ctrl-C still gets a report.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from variorum.compare import atomic, finals, latency, match, process, storage, worker
from variorum.compare.answer import answer, winner
from variorum.compare.budget import LEAST_SECONDS, Shares
from variorum.compare.candidates import Candidate, candidates
from variorum.compare.fingerprint import fingerprint
from variorum.compare.interval import equals_best
from variorum.compare.job import Job
from variorum.compare.live import Watcher
from variorum.compare.machine import default_threads, describe
from variorum.compare.on_ray import Cluster
from variorum.compare.queue import Queue
from variorum.compare.record import Record
from variorum.compare.report.page import write_report
from variorum.compare.result import Result, State
from variorum.compare.search import search
from variorum.core import VariorumError
from variorum.data.readers.reader import load_task
from variorum.data.task import Task

EVENTS, LOG, WINNER, REPORT, LOCK = "events.jsonl", "log.txt", "winner", "report.html", ".lock"
LAST = "last pass"
DEATHS = 3
"""A process that is killed so often at the same point of its work is not started again."""


class Failed(Exception):
    """A candidate's own fault."""


class Halted(Exception):
    """Everything is being stopped."""


def run(job: Job, out: Path, watch: Watcher) -> Record:
    """Do what the job asks, or what is left of it; raises :class:`VariorumError` before anything is written."""
    began = time.monotonic()
    process.get_ready()
    record = _prepare(job, out)
    shares = Shares(job.seconds, candidates=len(record.candidates), workers=job.workers)
    if job.steps is None and not record.elapsed:
        shares.check(left=len(record.candidates))
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out) if job.storage is None else nullcontext():
        queue = Queue(storage.address(out, job.storage), record.study, shared=job.storage is not None)
        record.results |= queue.results()
        _check_there(record)
        watch.began(record, began + job.seconds - record.elapsed)
        for note in (*record.data["notes"], *record.notes):
            watch.says(note)
        cluster = Cluster(job.ray, workers=job.workers) if job.ray is not None else None
        study = _Study(record, queue, shares, watch, began - record.elapsed, cluster.run if cluster else process.run)
        record.write()
        try:
            study.search()
            study.finals()
            study.last_pass()
        finally:
            study.close()
            if cluster is not None:
                cluster.close()
    return record


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Held while the comparison runs: two may work on one folder only if they share a storage."""
    try:
        with FileLock(out / LOCK).acquire(blocking=False):
            yield
    except Timeout:
        raise VariorumError(str(out), expected="a folder that no other comparison works in", found="one that does",
                            do="Wait for it, choose another --out, or share a --storage.") from None  # fmt: skip


def _check_there(record: Record) -> None:
    """Raise :class:`VariorumError` if the storage knows of models that the folder does not hold."""
    for result in record.finished:
        if not (record.folder(result.name) / worker.RESULT).exists():
            raise VariorumError(f"{record.out}", expected=f"{result.name}, which the storage says is finished",
                                found="nothing of it", do="Give the --out that holds this comparison, which machines "
                                "must share as they share the --storage, or a new name to begin anew.")  # fmt: skip


def _prepare(job: Job, out: Path) -> Record:
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


class _Study:
    """A comparison under way; ``start`` is when it would have begun had it never been interrupted.

    place: where work is done: in processes of this machine, or in those of a cluster.
    """

    def __init__(
        self, record: Record, queue: Queue, shares: Shares, watch: Watcher, start: float, place: process.Place
    ) -> None:
        self.record, self.queue, self.shares, self.watch, self.start = record, queue, shares, watch, start
        self.place = place
        self.stop, self._writing, self.threads = threading.Event(), threading.Lock(), 1

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def search(self) -> None:
        """Search for every candidate, the brief ones first."""
        for phase, left, taking_part in self._brief_first(self.record.candidates):
            tasks = {f"search:{c.name}": partial(self._search, c) for c in taking_part}
            self._phase(f"the {phase} searches", tasks, partial(self.shares.search, left=left))

    def finals(self) -> None:
        """Train the best again with several seeds, the brief ones first."""
        names = self.queue.settled("finalists", self._finalists)
        seeds = finals.seeds(self.record)
        if not names and self.record.finished:
            self.record.note("No time was left to train the best with several seeds: give more --minutes.")
        taking_part = [c for c in self.record.candidates if c.name in names]
        for phase, left, some in self._brief_first(taking_part):
            tasks = {f"final:{c.name}:{seed}": partial(self._final, c, seed) for c in some for seed in seeds}
            self._phase(f"the {phase} finals", tasks, partial(self.shares.final, left=left * len(seeds)))

    def _finalists(self) -> list[str]:
        """As many of them as there is time for."""
        names = finals.finalists(self.record)
        while names and self.record.job.steps is None:
            if self.shares.final(self.elapsed, left=len(names) * finals.SEEDS) >= LEAST_SECONDS:
                break
            names.pop()
        return names

    @staticmethod
    def _brief_first(taking_part: Sequence[Candidate]) -> list[tuple[str, int, list[Candidate]]]:
        """The brief ones and the others: what they are called, how many then still share the time, and who they are."""
        brief, rest = [c for c in taking_part if c.brief], [c for c in taking_part if not c.brief]
        return [("brief", len(taking_part), brief), ("other", len(rest), rest)]

    def _phase(
        self, phase: str, tasks: Mapping[str, Callable[[float], None]], seconds: Callable[[float], float]
    ) -> None:
        """Do tasks in processes of their own, some at a time. Ctrl-C stops those that run.

        seconds: how many each task is granted, so many seconds after the beginning.
        """
        if not tasks:
            return
        self.queue.need(tasks)
        if self.record.job.steps is None:  # sums come out otherwise on several threads
            self.threads = max(1, default_threads() // min(self.record.job.workers, len(tasks)))
        share = self.queue.settled(f"seconds of {phase}", lambda: round(seconds(self.elapsed), 2))

        def work() -> None:
            while not self.stop.is_set() and self.queue.take(tasks, lambda name: tasks[name](share)):
                pass

        with ThreadPoolExecutor(self.record.job.workers) as pool:
            running = [pool.submit(work) for _ in range(self.record.job.workers)]
            try:
                for future in as_completed(running):
                    future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self.record.results |= self.queue.results()

    def _search(self, candidate: Candidate, share: float) -> None:
        """Search for one candidate and keep what came of it."""
        granted = self._granted(share)
        shown = granted if self.record.job.steps is None else None
        result = self.record.results[candidate.name].but(state=State.RUNNING, granted_seconds=shown)
        if granted < LEAST_SECONDS:
            self._keep(result.but(state=State.FAILED, error="no time was left for it: give more --minutes"))
            return
        self._keep(result)
        folder = self.record.folder(candidate.name)
        address = storage.address(self.record.out.absolute(), self.record.job.storage)
        given = worker.Work(self.record.job, candidate, granted, address, f"{self.record.study}/{candidate.name}",
                            seed=self.record.job.seed, flops=self.record.flops, threads=self.threads)  # fmt: skip
        try:
            found = self._process(search, given, folder, candidate.name)
        except Failed as failed:
            self._keep(result.but(state=State.FAILED, error=f"{failed} (log: {self._short(folder / LOG)})"))
            return
        known = {key: value for key, value in found.items() if key in Result.columns()}
        if "quality" not in found:
            self._keep(result.but(**known, state=State.OUT))
            return
        self._keep(finals.scored(result.but(**known, state=State.FINISHED), worker.read_scores(folder),
                                 self.record.job.seed))  # fmt: skip

    def _final(self, candidate: Candidate, seed: int, share: float) -> None:
        """Train a finalist with one seed; a fault leaves the others."""
        granted = self._granted(share)
        folder = finals.folder(self.record, candidate.name, seed)
        found = worker.read_result(self.record.folder(candidate.name))
        assert found is not None, "a finalist has been searched"
        given = worker.Work(self.record.job, candidate, granted, params=found["params"], seed=seed,
                            flops=self.record.flops, threads=self.threads)  # fmt: skip
        shown = granted if self.record.job.steps is None else None
        self._keep(self.record.results[candidate.name].but(state=State.RUNNING, finalist=True, granted_seconds=shown))
        try:
            if granted < LEAST_SECONDS:
                raise Failed("no time was left")
            self._process(worker.final, given, folder, candidate.name)
        except Failed as failed:
            self.record.note(f"{candidate.name}, seed {seed}, did not come to its end: {failed} "
                             f"(log: {self._short(folder / LOG)})")  # fmt: skip

    def _granted(self, share: float) -> float:
        if self.record.job.steps is not None:
            return self.record.job.seconds
        return round(max(0.0, self.shares.granted(share, self.elapsed)), 2)

    def _process(self, work: process.Work, given: worker.Work, folder: Path, name: str) -> dict[str, Any]:
        """What the work found in a process of its own, which is started again if it is killed on its way."""
        found = worker.read_result(folder)
        if found is not None:
            return found
        given.write(folder)
        deaths, point = 0, None
        while True:
            told: dict[str, Any] = {}
            with (folder / EVENTS).open("a", encoding="utf-8") as events:

                def hear(event: dict[str, Any], told: dict[str, Any] = told, events: Any = events) -> None:
                    told.update(event)
                    events.write(json.dumps(event) + "\n")
                    self.watch.told(name, event)

                limit = self.shares.limit(given.seconds, self.elapsed)
                code, end = self.place(work, folder, log=folder / LOG, seconds=limit, told=hear, stop=self.stop)
            found = worker.read_result(folder)
            if found is not None:
                self.shares.learn(found["start_seconds"])
                return found
            if end is process.End.STOPPED:
                raise Halted
            if "lost" in told:
                raise storage.StorageLost(name, expected="to go on", found=told["lost"],
                                          do="Nothing finished is lost: repeat the command.")  # fmt: skip
            if end is process.End.LATE:
                raise Failed("it did not end within its part of the budget")
            reached = (told.get("trial"), told.get("step"))
            deaths, point = (deaths + 1 if reached == point else 1), reached
            if code >= 0 or deaths == DEATHS:
                raise Failed(told.get("error") or process.says_exit(code))

    def _short(self, path: Path) -> str:
        return path.relative_to(self.record.out).as_posix()

    def last_pass(self) -> None:
        """Sum up the finals, time all finished candidates side by side, and measure the memory of each."""
        self.queue.need([LAST])
        self.queue.take([LAST], lambda name: self._last_pass())
        self.record.results |= self.queue.results()

    def _last_pass(self) -> None:
        record = self.record
        for result in list(record.results.values()):
            if result.finalist:
                self._keep(finals.concluded(record, result))
        finished = record.finished
        if not finished:
            return
        self.watch.says(f"Timing {len(finished)} candidates side by side")
        seconds = max(1.0, min(0.8 * len(finished), record.job.seconds - self.elapsed - 3.0))
        bundles = {result.name: str(record.folder(result.name) / worker.BUNDLE) for result in finished}
        asked = {"job": record.job.to_dict(), "bundles": bundles, "seconds": seconds}
        atomic.write(record.out / latency.ASKED, json.dumps(asked) + "\n")
        (record.out / latency.FOUND).unlink(missing_ok=True)
        for _ in range(DEATHS):
            limit = self.shares.last_limit(self.elapsed)
            code, end = process.run(latency.last_pass, record.out, log=record.out / LOG, seconds=limit,
                                    told=lambda event: None, stop=self.stop)  # fmt: skip
            if code == 0 or end is not process.End.ITSELF:
                break
        if code != 0:
            why = "took too long" if end is process.End.LATE else process.says_exit(code)
            record.note(f"The last pass {why} (see {LOG}): what it did not come to was not measured, and latencies "
                        "that were not taken in turns are those of each candidate by itself.")  # fmt: skip
        path = record.out / latency.FOUND
        for name, figures in json.loads(path.read_text("utf-8")).items() if path.exists() else ():
            over = record.job.limits.over({"size_bytes": record.results[name].size_bytes, **figures})
            state = State.OUT if over else State.FINISHED
            self._keep(record.results[name].but(**figures, over=over, state=state))
        self._show()

    def _show(self) -> None:
        """Look at what the finalists get right and wrong, the best first, as long as there is time."""
        for result in self.record.finished:
            folder = self.record.folder(result.name)
            left = self.record.job.seconds - self.elapsed - 1.0
            if result.finalist and left > self.shares.start:
                process.run(
                    worker.show, folder, log=folder / LOG, seconds=left, told=lambda event: None, stop=self.stop
                )

    def close(self) -> None:
        """Compare the finished ones, copy the winner, write everything."""
        record = self.record
        for result in record.results.values():
            if result.state is State.RUNNING:
                known = result.quality is not None  # it was in the finals
                record.results[result.name] = result.but(state=State.FINISHED if known else State.WAITING)
        finished = record.finished
        if finished:
            equal = equals_best(finals.scores_of(record, finished), 0, seed=record.job.seed)
            for result, same in zip(finished, equal, strict=True):
                record.results[result.name] = result.but(equals_best=same)
        best = winner(record.finished)
        if best is not None:
            atomic.copy_folder(record.folder(best.name) / worker.BUNDLE, record.out / WINNER)
        record.elapsed = self.elapsed
        record.write()
        write_report(record, self.curves(), record.out / REPORT, galleries=self.galleries())

    def curves(self) -> dict[str, list[dict[str, Any]]]:
        """What every candidate told of its progress, in its search and in the finals."""
        told = {}
        for name in self.record.results:
            folders = [self.record.folder(name), *(path for path, _ in finals.ended(self.record, name))]
            told[name] = [event for folder in folders for event in _events(folder / EVENTS)]
        return told

    def galleries(self) -> dict[str, dict[str, Any]]:
        """What the finalists get right and wrong."""
        paths = {name: self.record.folder(name) / worker.GALLERY for name in self.record.results}
        return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.exists()}

    def _keep(self, result: Result) -> None:
        with self._writing:
            self.record.elapsed = self.elapsed
            self.queue.put(result)
            self.record.put(result)
            self.watch.changed(result)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Events of training steps in a file; a line that a killed process left half is passed over."""
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError):
            event = json.loads(line)
            if "step" in event:
                yield event


def says(record: Record) -> str:
    """The answer of a comparison."""
    return answer(record.ordered, data=record.data["title"], limits=record.job.limits.to_dict())
