"""A process of our own: its events are heard as they come, it ends at a deadline, and it never outlives its parent.

Processes are forked from a server that has imported everything already, so that one is there within milliseconds; where
a system cannot do that, they are started anew.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from enum import StrEnum
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from variorum.core import VariorumError
from variorum.runtime.allocator import keep_memory

Tell = Callable[[dict[str, Any]], None]
Work = Callable[[Path, Tell], None]
"""What a process does: it is given its folder, and what to tell events with. A function of a module."""

FORKS = sys.platform == "linux"  # elsewhere libraries may not survive a fork
CONTEXT: Any = multiprocessing.get_context("forkserver" if FORKS else "spawn")
IMPORTED = ("variorum.compare.worker", "variorum.compare.latency", "lightning_fabric")
TICK = 0.2
GRACE = 5.0

_BOOKS = threading.Lock()  # multiprocessing keeps one list of children, which no two threads may look through at once


def get_ready() -> None:
    """Start the server, which imports what the work needs while its parent does something else."""
    if FORKS:
        CONTEXT.set_forkserver_preload(list(IMPORTED))
        forkserver.ensure_running()


def pool(workers: int, *, tasks_each: int | None = None) -> ProcessPoolExecutor:
    """Processes for calls that need no folder and no log, forked and tied to this one as those of :func:`run` are."""
    get_ready()
    return ProcessPoolExecutor(workers, mp_context=CONTEXT, initializer=tie, max_tasks_per_child=tasks_each)


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
    get_ready()
    events, sender = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_child, args=(work, folder, log, sender))
    with _BOOKS, _without_script():
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


@contextmanager
def _without_script() -> Iterator[None]:
    """Keep a child from running its parent's script again: it needs none of it, and not every script guards itself."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


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
    tie()
    keep_memory()
    errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born without it

    def tell(event: dict[str, Any]) -> None:
        sender.send_bytes(json.dumps(event).encode())

    try:
        work(folder, tell)
    except VariorumError as error:
        tell({"error": str(error)})
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the parent stops the comparison; what was trained is in the checkpoint
    except MemoryError as error:
        tell({"error": "out of memory"})
        raise SystemExit(3) from error
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})
        raise


def tie() -> None:
    """Give this process a group of its own, which ends as soon as the process that asked for it is gone.

    What it starts ends with it, and a terminal's Ctrl-C stops at its parent.
    """
    if sys.platform != "win32":
        os.setsid()
    parent = multiprocessing.parent_process()

    def follow() -> None:
        assert parent is not None, "multiprocessing started this process"
        parent.join()
        if sys.platform != "win32":
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def says_exit(code: int) -> str:
    """What an exit code tells: the signal's name if one ended the process."""
    if code == -9:
        return "killed by the system (signal 9), most likely for lack of memory"
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"
