"""The one error that reaches a user: it names the input, what was expected, what was found, and what to do."""

import difflib
from collections.abc import Iterable


class VariorumError(ValueError):
    """A fault in what the user gave. ``str(error)`` is a whole sentence fit for a terminal."""

    def __init__(self, subject: str, *, expected: str, found: str, do: str) -> None:
        self.subject, self.expected, self.found, self.do = subject, expected, found, do
        super().__init__(f"{subject}: expected {expected}, found {found}. {do}")


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that names the known names closest to ``name``: ``Did you mean 'heads'?``"""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"Known: {shown}." if known else "None is known."
