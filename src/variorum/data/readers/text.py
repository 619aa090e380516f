"""A text to learn the language of."""

from pathlib import Path

from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.task import Task
from variorum.data.text import TextTask

TEXTS = frozenset({".txt", ".md"})
LOOKED_AT = 1 << 20
"""Bytes of a file of unknown suffix that are read to see whether it is text."""


class Text(Reader):
    """A UTF-8 text, whatever its name."""

    reads = "text"
    looks_like = "a UTF-8 text"

    def sure(self, path: Path, question: Question) -> Sure:
        if not path.is_file():
            return Sure.NO
        if path.suffix.lower() in TEXTS:
            return Sure.NAME
        return Sure.PERHAPS if _is_text(path) else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return TextTask(source)


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut where the reading stopped.
        return error.start >= len(head) - 3 and len(head) == LOOKED_AT and b"\0" not in head
    return b"\0" not in head
