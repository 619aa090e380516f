"""Handwritten digits of scikit-learn."""

import numpy as np

from variorum.data.sets.bundled import Bundled


class DigitsSet(Bundled):
    """Handwritten digits."""

    name, reads = "digits", "images"
    says = "1,797 handwritten digits of 8 x 8 pixels, shipped with scikit-learn."

    def read(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        from sklearn.datasets import load_digits

        found = load_digits()
        # Grey levels are 0..16; 15 times that is exact in a byte.
        return (found.images * 15).astype(np.uint8), found.target.astype(np.int64), tuple("0123456789")
