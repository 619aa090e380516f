"""Folders of sounds by class."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.folders import check_classes, holds
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.recordings import SOUNDS
from variorum.data.sound_task import SoundTask
from variorum.data.task import Task


class SoundFolder(Reader):
    """A folder with a sub-folder of sounds for each class."""

    reads = "sounds"
    new, tag = "new_sounds/", "audio-classification"
    looks_like = "a folder with a sub-folder of sounds for each class"
    asks = frozenset({"group"})

    def sure(self, path: Path, question: Question) -> Sure:
        if path.suffix.lower() in SOUNDS and path.is_file():
            raise VariorumError(str(path), expected=self.looks_like, found="one sound",
                                do="Give the folder that holds the class folders.")  # fmt: skip
        if not holds(path, SOUNDS):
            return Sure.NO
        check_classes(path, SOUNDS, "sounds")
        return Sure.NAME

    def read(self, source: str, question: Question, seed: int) -> Task:
        return SoundTask(source, group=question.group, seed=seed)
