"""Small tables of scikit-learn."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.data.sets.bundled import Bundled

if TYPE_CHECKING:
    import pandas as pd


class ScikitTable(Bundled, abstract=True):
    """A table that scikit-learn ships; its answers, classes by their names, are the column ``target``."""

    reads = "table"
    asks: ClassVar[dict[str, Any]] = {"target": "target"}

    def read(self) -> "pd.DataFrame":
        from sklearn import datasets

        found = getattr(datasets, f"load_{self.name}")(as_frame=True)
        frame = found.data.copy()
        names = getattr(found, "target_names", None)
        frame["target"] = found.target if names is None else np.asarray(names)[found.target.to_numpy()]
        return frame


class BreastCancerSet(ScikitTable):
    """Breast cancer Wisconsin."""

    name = "breast_cancer"
    says = "Breast cancer Wisconsin, 569 cell samples, shipped with scikit-learn."


class DiabetesSet(ScikitTable):
    """Diabetes progression."""

    name = "diabetes"
    says = "Diabetes progression of 442 patients, shipped with scikit-learn."


class IrisSet(ScikitTable):
    """Iris flowers."""

    name = "iris"
    says = "150 iris flowers, shipped with scikit-learn."


class WineSet(ScikitTable):
    """Wines."""

    name = "wine"
    says = "178 wines, shipped with scikit-learn."
