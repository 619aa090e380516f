"""Fashion-MNIST. Xiao et al. 2017, arXiv:1708.07747."""

import gzip
from pathlib import Path

import numpy as np

from variorum.core import VariorumError
from variorum.data.sets.bundled import Bundled

FOLDER = Path("/usr/share/datasets/fashion-mnist")
NAMES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


class FashionSet(Bundled):
    """Pictures of clothes."""

    name, reads = "fashion_mnist", "images"
    says = "70,000 pictures of clothes of 28 x 28 pixels, from the system's data set package."

    def read(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        if not FOLDER.is_dir():
            raise VariorumError(self.name, expected=f"the data set in {FOLDER}", found="nothing there",
                                do="Try digits, or apt-get install dataset-fashion-mnist.")  # fmt: skip
        parts = [
            (_idx(FOLDER / f"{p}-images-idx3-ubyte.gz", 16), _idx(FOLDER / f"{p}-labels-idx1-ubyte.gz", 8))
            for p in ("train", "t10k")
        ]
        images = np.concatenate([pixels.reshape(-1, 28, 28) for pixels, _ in parts])
        return images, np.concatenate([labels for _, labels in parts]).astype(np.int64), NAMES


def _idx(path: Path, offset: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)
