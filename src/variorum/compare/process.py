"""A process of our own: its lines are read as they come, it ends at a deadline, and it never outlives its parent."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

TIED = "--tied"
TICK = 0.2
GRACE = 5.0


def end_with_parent() -> None:
    """End this process as soon as its standard input ends, which is when the parent that holds it is gone."""

    def wait() -> None:
        while os.read(0, 4096):  # not the buffered reader: its lock would be held while Python shuts down
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class End(StrEnum):
    """Why a process ended."""

    ITSELF = "itself"
    LATE = "its seconds were over"
    STOPPED = "everything was stopped"


def run(
    module: str,
    folder: Path,
    *,
    log: Path,
    seconds: float,
    told: Callable[[dict[str, Any]], None],
    stop: threading.Event,
) -> tuple[int, End]:
    """Run ``python -m module folder``: its exit code, and why it ended.

    JSON lines of its standard output are passed to ``told``; its standard error is appended to ``log``. When ``stop``
    is set it is interrupted, as by Ctrl-C, has some seconds to save what it has, and is then ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        command = [sys.executable, "-m", module, str(folder), TIED]
        # A group of its own: what the process itself starts ends with it, and a terminal's Ctrl-C stops at the parent.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        ) as child:
            try:
                end = _listen(child, time.monotonic() + seconds, told, stop)
                if end is End.STOPPED:
                    _interrupt(child)
            finally:
                _end(child)
    return child.returncode, end


def _listen(
    child: "subprocess.Popen[bytes]", deadline: float, told: Callable[[dict[str, Any]], None], stop: threading.Event
) -> End:
    """Pass on events until the child ends, the deadline is over, or all is stopped."""
    lines: queue.Queue[bytes | None] = queue.Queue()
    assert child.stdout is not None, "Popen was asked for a pipe"
    threading.Thread(target=_read, args=(child.stdout, lines), daemon=True).start()
    open_ = True
    while open_ or child.poll() is None:
        if stop.is_set():
            return End.STOPPED
        if time.monotonic() > deadline:
            return End.LATE
        try:
            line = lines.get(timeout=TICK) if open_ else None
        except queue.Empty:
            continue
        open_ = line is not None
        if line is not None:
            told(json.loads(line))
        else:
            stop.wait(TICK / 10)  # its output has ended, and so will it
    return End.ITSELF


def _interrupt(child: "subprocess.Popen[bytes]") -> None:
    """Ask the child to stop, and wait for it a little."""
    if sys.platform != "win32":
        child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            return  # it is ended by force


def _read(stream: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        child.stdin.close()
    child.wait()


def says_exit(code: int) -> str:
    """What an exit code tells: the signal's name if one ended the process."""
    if code == -9:
        return "killed by the system (signal 9), most likely for lack of memory"
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"
