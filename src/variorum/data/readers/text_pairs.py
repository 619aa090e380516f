"""Tables of two texts a row, one to be written when the other is read."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.free_text import is_free_text
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.readers.tables_of_texts import head_of
from variorum.data.task import Task
from variorum.data.text_pairs import KIND, TextPairTask, find_pair


class TextPairs(Reader):
    """A table whose target is free text, beside another column of texts."""

    reads = KIND
    new, tag = "new.csv", "text2text-generation"
    looks_like = "a table with two columns of texts"
    asks = frozenset({"target"})

    def sure(self, path: Path, question: Question) -> Sure:
        frame = head_of(path, question)
        if frame is None:
            return Sure.NO
        try:
            column, target = find_pair(frame, question.target, str(path))
        except VariorumError:  # whoever else reads tables will say what is amiss
            return Sure.NO
        named = question.target is not None
        written, read = is_free_text(frame[target], fewest=2.0), is_free_text(frame[column], fewest=0 if named else 2.0)
        return Sure.CONTENT if written and read else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return TextPairTask(source, target=question.target, seed=seed)
