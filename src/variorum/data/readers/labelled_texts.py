"""Tables and folders of texts, each with a class."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.free_text import is_free_text
from variorum.data.labelled_texts import KIND, LabelledTextTask, find_text
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.readers.tables_of_texts import head_of
from variorum.data.sorted_texts import sorts_texts
from variorum.data.target_column import find_target
from variorum.data.targets import is_value
from variorum.data.task import Task
from variorum.data.text_files import holds_mostly


class LabelledTexts(Reader):
    """A table of a column of classes, one of free text, and nothing else to learn from; or texts in class folders."""

    reads = KIND
    new, tag = "new.csv", "text-classification"
    looks_like = "a table with a column of texts and one of classes, or a folder with a sub-folder of texts a class"
    asks = frozenset({"target"})

    def sure(self, path: Path, question: Question) -> Sure:
        if path.is_dir():
            return Sure.CONTENT if holds_mostly(path) and sorts_texts(path) else Sure.NO
        frame = head_of(path, question)
        if frame is None:
            return Sure.NO
        try:
            target = find_target(frame, question.target, str(path))
            column, ignored = find_text(frame, target, str(path))
        except VariorumError:  # whoever else reads tables will say what is amiss
            return Sure.NO
        known = frame[target].dropna()
        # The first rows may all be of one class; what they are not is texts, or numbers to estimate.
        if (
            ignored
            or not is_free_text(frame[column])
            or is_value(known)
            or known.astype(str).nunique() > max(2, len(known) // 4)
        ):
            return Sure.NO
        return Sure.CONTENT

    def read(self, source: str, question: Question, seed: int) -> Task:
        return LabelledTextTask(source, target=question.target, seed=seed)
