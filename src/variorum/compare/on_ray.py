"""The same work in the processes of a Ray cluster (Moritz et al. 2018, arXiv:1712.05889), whose nodes share the folder.

What a worker tells it appends to a file in its folder, which the driver reads as it grows.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from variorum.compare.process import TICK, End, Tell, Work, explain
from variorum.core import VariorumError

LOCAL = "local"
TOLD = "told.jsonl"


class Cluster:
    """A connection to a cluster.

    address: of its head, such as ``ray://host:10001`` or ``auto``; ``local``: one made here, of ``workers`` processes.
    Raises :class:`VariorumError` where Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str, *, workers: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise VariorumError("--ray", expected="Ray to be installed", found="it is not",
                                do="pip install 'variorum[cluster]'.") from error  # fmt: skip
        self._ray: Any = ray
        here = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {"address": address}
        try:
            ray.init(**here, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise VariorumError(f"--ray {address}", expected="the address of a running Ray cluster", found=str(error),
                                do="Start one (ray start --head), or give --ray local.") from error  # fmt: skip
        # A process of its own for each task: what it holds at its peak is then its own, and a crash ends nothing else.
        self._remote = ray.remote(num_cpus=1, max_calls=1, max_retries=0)(_work)

    def run(
        self, work: Work, folder: Path, *, log: Path, seconds: float, told: Tell, stop: threading.Event
    ) -> tuple[int, End]:
        """Do the work somewhere in the cluster: as :func:`variorum.compare.process.run`."""
        (folder / TOLD).write_text("")
        task = self._remote.remote(work, folder.absolute(), log.absolute())
        heard, deadline = _Follower(folder / TOLD), time.monotonic() + seconds
        while True:
            ready, _ = self._ray.wait([task], timeout=TICK)
            for event in heard.new():
                told(event)
            if ready:
                return self._code(task), End.ITSELF
            if stop.is_set() or time.monotonic() > deadline:
                self._ray.cancel(task, force=True)
                return -9, End.STOPPED if stop.is_set() else End.LATE

    def _code(self, task: Any) -> int:
        try:
            return int(self._ray.get(task))
        except self._ray.exceptions.RayTaskError:
            return 1  # the worker told why
        except self._ray.exceptions.RayError:  # the process or its node is gone
            return -9

    def close(self) -> None:
        """Leave the cluster; one that was made here ends."""
        self._ray.shutdown()


def _work(work: Work, folder: Path, log: Path) -> int:
    """What runs in the cluster."""
    log.parent.mkdir(parents=True, exist_ok=True)
    errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    with (folder / TOLD).open("a", encoding="utf-8") as events:

        def tell(event: dict[str, Any]) -> None:
            events.write(json.dumps(event) + "\n")
            events.flush()

        try:
            work(folder, tell)
        except Exception as error:
            explain(error, tell)
            raise
    return 0


class _Follower:
    """Reads the whole lines that were added to a file since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def new(self) -> Iterator[dict[str, Any]]:
        """The events in them."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._at += len(whole)
        yield from map(json.loads, whole.splitlines())
