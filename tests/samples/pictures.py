"""Folders of small real pictures: scikit-learn's digits as image files."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def write_digits(folder: Path, each: int = 6, classes: tuple[int, ...] = (0, 1, 2), suffix: str = ".png") -> Path:
    """A sub-folder of ``each`` images for each class."""
    found = load_digits()
    for label in classes:
        (folder / f"digit {label}").mkdir(parents=True)
        for i, pixels in enumerate(found.images[found.target == label][:each]):
            Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / f"digit {label}" / f"{i}{suffix}")
    return folder
