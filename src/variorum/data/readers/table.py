"""Tables with a column to predict."""

from pathlib import Path

from variorum.data.frames import TABLES
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.table import TableTask
from variorum.data.task import Task


class Table(Reader):
    """A file of rows and named columns."""

    reads = "table"
    new, tag = "new.csv", "tabular"
    looks_like = f"a table ({', '.join(sorted(TABLES))})"
    asks = frozenset({"target"})

    def sure(self, path: Path, question: Question) -> Sure:
        return Sure.NAME if path.is_file() and path.suffix.lower() in TABLES else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return TableTask(source, target=question.target, seed=seed)
