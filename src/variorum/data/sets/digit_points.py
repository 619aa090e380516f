"""Handwritten digits of scikit-learn as points with a height. Qi et al. 2017, arXiv:1706.02413, do so with MNIST."""

from typing import Any

import numpy as np

from variorum.data.sets.bundled import Bundled


class DigitPointsSet(Bundled):
    """Handwritten digits: a point where there is ink, the darker the higher."""

    name, reads = "digit-points", "point clouds"
    says = (
        "1,797 handwritten digits shipped with scikit-learn: a point for each inked pixel, at the height of its grey."
    )

    def read(self) -> tuple[list[np.ndarray], list[Any], list[str]]:
        from sklearn.datasets import load_digits

        found = load_digits()
        clouds = []
        for image in found.images:
            row, column = np.nonzero(image)
            clouds.append(np.stack([column, -row, image[row, column] / 8], axis=1).astype(np.float64))
        return clouds, found.target.tolist(), []
