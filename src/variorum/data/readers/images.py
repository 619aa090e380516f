"""Folders of images by class."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.folders import check_classes, holds
from variorum.data.images import IMAGES, ImageTask
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.task import Task


class ImageFolder(Reader):
    """A folder with a sub-folder of images for each class."""

    reads = "images"
    new, tag = "new_images/", "image-classification"
    looks_like = "a folder with a sub-folder of images for each class"

    def sure(self, path: Path, question: Question) -> Sure:
        if path.suffix.lower() in IMAGES and path.is_file():
            raise VariorumError(str(path), expected=self.looks_like, found="one image",
                                do="Give the folder that holds the class folders.")  # fmt: skip
        if not holds(path, IMAGES):
            return Sure.NO
        check_classes(path, IMAGES, "images")
        return Sure.NAME

    def read(self, source: str, question: Question, seed: int) -> Task:
        return ImageTask(source, seed=seed)
