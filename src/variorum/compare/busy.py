"""How long at least one of several things was going on: what a comparison spends on itself is the rest."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Busy:
    """Counts the seconds in which somebody is at work, those of several at a time once."""

    def __init__(self) -> None:
        self._lock, self._at_work, self._since, self._before = threading.Lock(), 0, 0.0, 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        with self._lock:
            return self._before + (time.monotonic() - self._since if self._at_work else 0.0)

    @contextmanager
    def somebody(self) -> Iterator[Callable[[], None]]:
        """Somebody who is at work from calling what this gives to the end of the block."""
        began = False

        def begin() -> None:
            nonlocal began
            with self._lock:
                if not began and not self._at_work:
                    self._since = time.monotonic()
                self._at_work += not began
                began = True

        try:
            yield begin
        finally:
            if began:
                self._end()

    def _end(self) -> None:
        with self._lock:
            self._at_work -= 1
            if not self._at_work:
                self._before += time.monotonic() - self._since
