"""A text to learn the language of."""

from pathlib import Path

from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.task import Task
from variorum.data.text import TEXTS, TextTask, text_files

LOOKED_AT = 1 << 20
"""Bytes of a file of unknown suffix that are read to see whether it is text."""


class Text(Reader):
    """A UTF-8 text, whatever its name, or a folder of texts."""

    reads = "text"
    new, tag = "prompt.txt", "text-generation"
    looks_like = f"a UTF-8 text, or a folder of texts ({', '.join(sorted(TEXTS))})"

    def sure(self, path: Path, question: Question) -> Sure:
        if path.is_dir():
            return _in_folder(path)
        if not path.is_file():
            return Sure.NO
        if path.suffix.lower() in TEXTS:
            return Sure.NAME
        return Sure.PERHAPS if _is_text(path) else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return TextTask(source)


def _in_folder(folder: Path) -> Sure:
    """A folder of texts has more of them than of anything else; a note beside pictures is none."""
    texts = len(text_files(folder))
    if not texts:
        return Sure.NO
    files = sum(1 for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    return Sure.NAME if 2 * texts > files else Sure.PERHAPS


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut where the reading stopped.
        return error.start >= len(head) - 3 and len(head) == LOOKED_AT and b"\0" not in head
    return b"\0" not in head
