"""Shapes by class: meshes or clouds of points."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.cloud_files import CLOUDS, MESHES, POINTS, holds_clouds
from variorum.data.folders import check_classes, class_folders, holds
from variorum.data.point_clouds import PointCloudTask
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.task import Task

SPATIAL = MESHES | {".xyz", ".pts"}
"""Suffixes that only shapes have; arrays and tables may be of anything."""


class PointClouds(Reader):
    """A folder with a sub-folder of shapes for each class, or an archive of clouds."""

    reads = "point clouds"
    new, tag = "new_clouds/", "point-cloud-classification"
    looks_like = (
        f"a folder with a sub-folder of shapes ({', '.join(sorted(SPATIAL))}) for each class, or .npz with points and y"
    )

    def sure(self, path: Path, question: Question) -> Sure:
        if holds_clouds(path):
            return Sure.CONTENT
        if path.suffix.lower() in SPATIAL and path.is_file():
            raise VariorumError(str(path), expected=self.looks_like, found="one shape",
                                do="Give the folder that holds the class folders.")  # fmt: skip
        if holds(path, SPATIAL):
            check_classes(path, CLOUDS, "shapes")
            return Sure.NAME
        arrays = path.is_dir() and len(class_folders(path, POINTS)) > 1
        return Sure.PERHAPS if arrays else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return PointCloudTask(source, seed=seed)
