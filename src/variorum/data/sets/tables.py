"""Small tables of scikit-learn."""

from typing import Any, ClassVar

import numpy as np

from variorum.data.sets.bundled import Bundled


def _frame(loader: str) -> Any:
    from sklearn import datasets

    found = getattr(datasets, loader)(as_frame=True)
    frame = found.data.copy()
    names = getattr(found, "target_names", None)
    frame["target"] = found.target if names is None else np.asarray(names)[found.target.to_numpy()]
    return frame


class BreastCancerSet(Bundled):
    """Breast cancer Wisconsin."""

    name, reads = "breast_cancer", "table"
    says = "Breast cancer Wisconsin, 569 cell samples, shipped with scikit-learn."
    asks: ClassVar[dict[str, Any]] = {"target": "target"}

    def read(self) -> Any:
        return _frame("load_breast_cancer")


class DiabetesSet(Bundled):
    """Diabetes progression."""

    name, reads = "diabetes", "table"
    says = "Diabetes progression of 442 patients, shipped with scikit-learn."
    asks: ClassVar[dict[str, Any]] = {"target": "target"}

    def read(self) -> Any:
        return _frame("load_diabetes")


class IrisSet(Bundled):
    """Iris flowers."""

    name, reads = "iris", "table"
    says = "150 iris flowers, shipped with scikit-learn."
    asks: ClassVar[dict[str, Any]] = {"target": "target"}

    def read(self) -> Any:
        return _frame("load_iris")


class WineSet(Bundled):
    """Wines."""

    name, reads = "wine", "table"
    says = "178 wines, shipped with scikit-learn."
    asks: ClassVar[dict[str, Any]] = {"target": "target"}

    def read(self) -> Any:
        return _frame("load_wine")
