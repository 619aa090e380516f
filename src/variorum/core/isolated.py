"""What is registered for a try and forgotten afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from variorum.core import catalogue, registry


@contextmanager
def isolated() -> Iterator[None]:
    """Classes and entries that are registered inside are unknown again after; for tests and for notebooks.

    >>> with isolated():
    ...     class Trial(Mixer): ...
    """
    registry.discover()
    classes, entries = dict(registry._classes), dict(catalogue._entries)
    try:
        yield
    finally:
        for table, before in ((registry._classes, classes), (catalogue._entries, entries)):
            table.clear()
            table.update(before)  # type: ignore[arg-type]
