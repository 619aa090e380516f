"""Memory that some work needs at its peak, over what the process holds before it."""

import ctypes
import gc
import os
import platform
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SAMPLED_EVERY = 0.01


class Peak:
    """Peak resident memory of this process during a ``with`` block, less the memory resident when it began.

    On Linux the kernel's own high-water mark is reset and read, which misses nothing; elsewhere the resident memory is
    sampled every 10 ms. ``mib`` is known after the block.
    """

    mib: float = 0.0

    def __enter__(self) -> Self:
        self._before = resident()
        self._marked = _reset_mark()
        self._highest = self._before
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        if not self._marked:
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._marked:
            self._done.set()
            self._sampler.join()
        highest = _mark() if self._marked else max(self._highest, resident())
        self.mib = max(0.0, (highest - self._before) / 2**20)

    def _sample(self) -> None:
        while not self._done.wait(SAMPLED_EVERY):
            self._highest = max(self._highest, resident())


def release() -> None:
    """Give free memory back to the system, so that it is not taken for memory that later work does without."""
    gc.collect()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident() -> int:
    """Bytes of this process that lie in memory now."""
    return psutil.Process(os.getpid()).memory_info().rss


def _reset_mark() -> bool:
    """Set the kernel's high-water mark to the present; False where that cannot be done."""
    if sys.platform != "linux":
        return False
    try:
        _CLEAR.write_text("5")
    except OSError:  # a container may forbid it: the memory is sampled instead
        return False
    return True


def _mark() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
