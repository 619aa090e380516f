"""A process of our own: its events are heard as they come, it ends at a deadline, and it never outlives its parent.

Processes are forked from a server that has imported everything already, so that one is there within milliseconds; where
a system cannot do that, they are started anew.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from variorum.compare import forks
from variorum.compare.atomic import disk_is_full
from variorum.compare.storage import StorageLost
from variorum.core import VariorumError
from variorum.runtime.allocator import keep_memory
from variorum.train import apart

Tell = Callable[[dict[str, Any]], None]
Work = Callable[[Path, Tell], None]
"""What a process does: it is given its folder, and what to tell events with. A function of a module."""

Place = Callable[..., "tuple[int, End]"]
"""Where work is done: :func:`run`, or what is called alike."""

TICK = 0.2
GRACE = 5.0

_BOOKS = threading.Lock()  # multiprocessing keeps one list of children, which no two threads may look through at once


def pool(workers: int, *, tasks_each: int | None = None) -> ProcessPoolExecutor:
    """Processes for calls that need no folder and no log, forked and tied to this one as those of :func:`run` are."""
    forks.get_ready()
    return ProcessPoolExecutor(
        workers, mp_context=apart.context(), initializer=apart.tie, max_tasks_per_child=tasks_each
    )


class End(StrEnum):
    """Why a process ended."""

    ITSELF = "itself"
    LATE = "its seconds were over"
    STOPPED = "everything was stopped"


def run(work: Work, folder: Path, *, log: Path, seconds: float, told: Tell, stop: threading.Event) -> tuple[int, End]:
    """Do ``work(folder, tell)`` in a process: its exit code, and why it ended.

    What it tells is passed to ``told``; what it prints is appended to ``log``. An error that it raises is told as
    ``{"error": text}``. When ``stop`` is set it is interrupted, as by Ctrl-C, has some seconds to save what it has, and
    is then ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    forks.get_ready()
    events, sender = apart.context().Pipe(duplex=False)
    child = apart.context().Process(target=_child, args=(work, folder, log, sender))
    with _BOOKS, apart.without_script():
        child.start()
    sender.close()
    try:
        end = _listen(child, events, time.monotonic() + seconds, told, stop)
        if end is End.STOPPED:
            _interrupt(child)
    finally:
        _end(child)
        events.close()
    return child.exitcode, end


def _listen(child: Any, events: Connection, deadline: float, told: Tell, stop: threading.Event) -> End:
    """Pass on events until the child ends, the deadline is over, or all is stopped."""
    sources = [events, child.sentinel]
    while not stop.is_set():
        if time.monotonic() > deadline:
            return End.LATE
        ready = wait(sources, TICK)
        if events in ready:
            try:
                told(json.loads(events.recv_bytes()))
            except (EOFError, OSError):  # it has closed its end, or was ended while it wrote
                sources.remove(events)
        elif ready:
            return End.ITSELF
    return End.STOPPED


def _interrupt(child: Any) -> None:
    """Ask the child to stop, and wait for it a little: after that it is ended by force."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGINT)
        wait([child.sentinel], GRACE)


def _end(child: Any) -> None:
    with _BOOKS:
        if child.is_alive():
            if sys.platform != "win32":
                with suppress(ProcessLookupError):  # it may not have come to having a group of its own
                    os.killpg(child.pid, signal.SIGKILL)
            child.kill()
        child.join()


def _child(work: Work, folder: Path, log: Path, sender: Connection) -> None:
    """What runs in the process."""
    apart.tie()
    keep_memory()
    errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born without it

    def tell(event: dict[str, Any]) -> None:
        sender.send_bytes(json.dumps(event).encode())

    try:
        work(folder, tell)
    except Exception as error:
        explain(error, tell)
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the parent stops the comparison; what was trained is in the checkpoint


def explain(error: Exception, tell: Tell) -> None:
    """Tell of an error; one that is nobody's fault as ``{"lost": text}``."""
    says = str(error) if isinstance(error, VariorumError) else f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        says = "out of memory"
    tell({"lost" if not_its_fault(error) else "error": says})


def not_its_fault(error: BaseException) -> bool:
    """Is it the machine's fault rather than the work's: a full disk, a database that does not answer?"""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StorageLost) or disk_is_full(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def says_exit(code: int) -> str:
    """What an exit code tells: the signal's name if one ended the process."""
    if code == -9:
        return "killed by the system (signal 9), most likely for lack of memory"
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"
