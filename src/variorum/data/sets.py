"""Real data that is there after installation, or that a package of the system brings. No task is made here."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from variorum.core import VariorumError

FASHION = Path("/usr/share/datasets/fashion-mnist")
TEXT = "shakespeare.txt"


@dataclass(frozen=True)
class Set:
    """A bundled data set. kind: table, images or text.  says: where it comes from.  target: of a table.

    read: the rows: a DataFrame; ``(images (n, H, W) uint8, labels (n,), class names)``; or the text.
    """

    name: str
    kind: str
    says: str
    read: Callable[[], Any]
    target: str | None = None


def _frame(loader: str) -> Callable[[], Any]:
    def read() -> Any:
        from sklearn import datasets

        found = getattr(datasets, loader)(as_frame=True)
        frame = found.data.copy()
        names = getattr(found, "target_names", None)
        frame["target"] = found.target if names is None else np.asarray(names)[found.target.to_numpy()]
        return frame

    return read


def _digits() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from sklearn.datasets import load_digits

    found = load_digits()
    # Grey levels are 0..16; 15 times that is exact in a byte.
    return (found.images * 15).astype(np.uint8), found.target.astype(np.int64), tuple("0123456789")


def _fashion() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    if not FASHION.is_dir():
        raise VariorumError(
            "fashion_mnist",
            expected=f"the data set in {FASHION}",
            found="nothing there",
            do="Install it (Debian: apt-get install dataset-fashion-mnist), or use digits.",
        )
    parts = [
        (_idx(FASHION / f"{p}-images-idx3-ubyte.gz", 16), _idx(FASHION / f"{p}-labels-idx1-ubyte.gz", 8))
        for p in ("train", "t10k")
    ]
    images = np.concatenate([pixels.reshape(-1, 28, 28) for pixels, _ in parts])
    names = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
    return images, np.concatenate([labels for _, labels in parts]).astype(np.int64), names


def _idx(path: Path, offset: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def _shakespeare() -> str:
    return (files("variorum.data") / "texts" / TEXT).read_text("utf-8")


_FROM = "shipped with scikit-learn"
SETS = {
    found.name: found
    for found in (
        Set(
            "breast_cancer",
            "table",
            f"Breast cancer Wisconsin, 569 cell samples, {_FROM}.",
            _frame("load_breast_cancer"),
            "target",
        ),
        Set("diabetes", "table", f"Diabetes progression of 442 patients, {_FROM}.", _frame("load_diabetes"), "target"),
        Set("digits", "images", f"1,797 handwritten digits of 8 x 8 pixels, {_FROM}.", _digits),
        Set(
            "fashion_mnist",
            "images",
            "70,000 pictures of clothes of 28 x 28 pixels, from the system's data set package.",
            _fashion,
        ),
        Set("iris", "table", f"150 iris flowers, {_FROM}.", _frame("load_iris"), "target"),
        Set("shakespeare", "text", "Plays of Shakespeare, Project Gutenberg's text (public domain).", _shakespeare),
        Set("wine", "table", f"178 wines, {_FROM}.", _frame("load_wine"), "target"),
    )
}


def find_set(source: str | Path, kind: str) -> Set | None:
    """The bundled set of this name and kind, unless a file of the name lies at hand."""
    found = SETS.get(str(source))
    return found if found is not None and found.kind == kind and not Path(source).exists() else None
