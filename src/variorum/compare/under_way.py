"""A comparison under way: a search for every candidate, then finals for the best."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from variorum.compare import finals, process, storage, worker
from variorum.compare.budget import LEAST_SECONDS, Shares
from variorum.compare.busy import Busy
from variorum.compare.candidates import Candidate
from variorum.compare.insisting import LOG, Failed, Insisting
from variorum.compare.live import Watcher
from variorum.compare.machine import default_threads
from variorum.compare.queue import Queue
from variorum.compare.record import Record
from variorum.compare.result import Result, State
from variorum.compare.search import search


class Study:
    """A comparison under way; ``start`` is when it would have begun had it never been interrupted.

    place: where work is done: in processes of this machine, or in those of a cluster.
    """

    def __init__(
        self, record: Record, queue: Queue, shares: Shares, watch: Watcher, start: float, place: process.Place
    ) -> None:
        self.record, self.queue, self.shares, self.watch, self.start = record, queue, shares, watch, start
        self.stop, self._writing, self.threads = threading.Event(), threading.Lock(), 1
        self.busy, self._busy_before = Busy(), record.busy
        self._insisting = Insisting(place, shares, watch, self.stop, lambda: self.elapsed, self.busy)

    @property
    def elapsed(self) -> float:
        """Seconds since then."""
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
        result, granted = self._granted(candidate, share)
        if granted < LEAST_SECONDS:
            self.keep(result.but(state=State.FAILED, error="no time was left for it: give more --minutes"))
            return
        self.keep(result)
        folder = self.record.folder(candidate.name)
        address = storage.address(self.record.out.absolute(), self.record.job.storage)
        given = worker.Work(self.record.job, candidate, granted, address, f"{self.record.study}/{candidate.name}",
                            seed=self.record.job.seed, flops=self.record.flops, threads=self.threads)  # fmt: skip
        try:
            found = self._insisting.done(search, given, folder, candidate.name)
        except Failed as failed:
            self.keep(result.but(state=State.FAILED, error=f"{failed} (log: {self._short(folder / LOG)})"))
            return
        known = {key: value for key, value in found.items() if key in Result.columns()}
        if "quality" not in found:
            self.keep(result.but(**known, state=State.OUT))
            return
        self.keep(finals.scored(result.but(**known, state=State.FINISHED), worker.read_scores(folder),
                                 self.record.job.seed))  # fmt: skip

    def _final(self, candidate: Candidate, seed: int, share: float) -> None:
        """Train a finalist with one seed; a fault leaves the others."""
        result, granted = self._granted(candidate, share)
        folder = finals.folder(self.record, candidate.name, seed)
        found = worker.read_result(self.record.folder(candidate.name))
        assert found is not None, "a finalist has been searched"
        given = worker.Work(self.record.job, candidate, granted, params=found["params"], seed=seed,
                            flops=self.record.flops, threads=self.threads)  # fmt: skip
        self.keep(result.but(finalist=True))
        try:
            if granted < LEAST_SECONDS:
                raise Failed("no time was left")
            self._insisting.done(worker.final, given, folder, candidate.name)
        except Failed as failed:
            self.record.note(f"{candidate.name}, seed {seed}, did not come to its end: {failed} "
                             f"(log: {self._short(folder / LOG)})")  # fmt: skip

    def _granted(self, candidate: Candidate, share: float) -> tuple[Result, float]:
        """The candidate as running, and the seconds that it has; told only where it is seconds that count."""
        result = self.record.results[candidate.name].but(state=State.RUNNING)
        if self.record.job.steps is not None:
            return result.but(granted_seconds=None), self.record.job.seconds
        granted = round(max(0.0, self.shares.granted(share, self.elapsed)), 2)
        return result.but(granted_seconds=granted), granted

    def _short(self, path: Path) -> str:
        return path.relative_to(self.record.out).as_posix()

    def clock(self) -> None:
        """Note how long it has been, and how long of that something was trained or measured."""
        self.record.elapsed, self.record.busy = self.elapsed, self._busy_before + self.busy.seconds

    def keep(self, result: Result) -> None:
        """Note a result in the storage and in the folder, and show it."""
        with self._writing:
            self.clock()
            self.queue.put(result)
            self.record.put(result)
            self.watch.changed(result)
