"""A text to learn the language of."""

from pathlib import Path

from variorum.data.decode import LOOKED_AT, is_utf8
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.task import Task
from variorum.data.text import TextTask
from variorum.data.text_files import TEXTS, holds_mostly, text_files


class Text(Reader):
    """A UTF-8 text, whatever its name, or a folder of texts."""

    reads = "text"
    new, tag = "prompt.txt", "text-generation"
    looks_like = f"a UTF-8 text, or a folder of texts ({', '.join(sorted(TEXTS))})"

    def sure(self, path: Path, question: Question) -> Sure:
        if path.is_dir():
            return Sure.NAME if holds_mostly(path) else Sure.PERHAPS if text_files(path) else Sure.NO
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
    return is_utf8(head, cut=len(head) == LOOKED_AT)
