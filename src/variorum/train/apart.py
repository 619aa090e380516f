"""Processes that never run their parent's script again, and never outlive it."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from types import ModuleType
from typing import Any

FORKS = sys.platform == "linux"  # elsewhere libraries may not survive a fork


def context() -> Any:
    """How processes are started: forked from a server that has computed nothing yet, elsewhere from nothing."""
    return multiprocessing.get_context("forkserver" if FORKS else "spawn")


def get_ready(imported: Sequence[str]) -> None:
    """Start the server, unless it runs already, with these modules imported."""
    if FORKS:
        context().set_forkserver_preload(list(imported))
        forkserver.ensure_running()


@contextmanager
def without_script() -> Iterator[None]:
    """Keep a child from running its parent's script again: it needs none of it, and not every script guards itself."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


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
