"""Work that is done in a process of its own, and begun again where the process is killed on its way."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from variorum.compare import process, storage, worker
from variorum.compare.budget import Shares
from variorum.compare.busy import Busy
from variorum.compare.live import Watcher

EVENTS, LOG = "events.jsonl", "log.txt"
DEATHS = 3
"""A process that is killed so often at the same point of its work is not started again."""


class Failed(Exception):
    """A candidate's own fault."""


class Halted(Exception):
    """Everything is being stopped."""


@dataclass
class Insisting:
    """Does work until it is done, its candidate has failed, or everything is stopped.

    place: where: in processes of this machine, or in those of a cluster.     elapsed: seconds since the beginning.
    """

    place: process.Place
    shares: Shares
    watch: Watcher
    stop: threading.Event
    elapsed: Callable[[], float]
    busy: Busy

    def done(self, work: process.Work, given: worker.Work, folder: Path, name: str) -> dict[str, Any]:
        """What a candidate's work found, now or before.

        Raises :class:`Failed`, :class:`Halted`, and :class:`StorageLost` for what is nobody's fault.
        """
        found = worker.read_result(folder)
        if found is not None:
            return found
        given.write(folder)
        deaths, point = 0, None
        while True:
            told: dict[str, Any] = {}
            limit = self.shares.limit(given.seconds, self.elapsed())
            with (folder / EVENTS).open("a", encoding="utf-8") as events, self.busy.somebody() as begin:
                hear = partial(self._hear, name, told, events, begin)
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

    def _hear(
        self, name: str, told: dict[str, Any], events: TextIO, begin: Callable[[], None], event: dict[str, Any]
    ) -> None:
        """Note what a process tells; its data are read and it is at work when it says that it trains."""
        told.update(event)
        events.write(json.dumps(event) + "\n")
        if event.get("stage") == "training":
            begin()
        self.watch.told(name, event)
