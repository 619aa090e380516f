"""What is said of a client's rows while they are read, for the client instead of the terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from variorum.runtime.serve.upload import unplaced

MOST = 20
log = logging.getLogger("variorum.serve")
_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)


@contextmanager
def hearing() -> Iterator[None]:
    """While it lasts, a warning goes to the notes of the request that it was raised for; others are shown as ever.

    Python remembers warnings that it has shown, and so would remember words of every client; here it does not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of the web framework, at every upload that is broken off
        shown = warnings.showwarning

        def hear(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            notes = _notes.get()
            if notes is None:
                shown(message, category, *rest, **more)
            elif not issubclass(category, UserWarning):
                log.debug("%s", message)
            elif len(notes) < MOST:
                notes.append(unplaced(str(message))[:400])

        warnings.showwarning = hear
        yield


@contextmanager
def notes() -> Iterator[list[str]]:
    """The list that warnings of this context, and of threads that run in a copy of it, are added to."""
    told: list[str] = []
    token = _notes.set(told)
    try:
        yield told
    finally:
        _notes.reset(token)
