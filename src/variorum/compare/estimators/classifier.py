"""A system as a classifier of scikit-learn."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from variorum.compare.estimators.row_estimator import RowEstimator, answers_of
from variorum.core import VariorumError
from variorum.data.columns import is_whole, word
from variorum.train.distributed import Distributed


class VariorumClassifier(ClassifierMixin, RowEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Says which class a row, a text or an image is of; ``score`` is the accuracy.

    classes_: the classes, in the order of the columns of :meth:`predict_proba`.     More: see :class:`RowEstimator`.
    """

    def fit(self, X: Any, y: Any, *, distributed: Distributed | None = None) -> Self:
        """Train on rows and their classes (rows,). distributed: over which processes; None: in this one."""
        rows = self._open(X)
        values, name = answers_of(y)
        check_classification_targets(values)
        classes = np.unique(values)
        labels = tuple(map(_label, classes))
        if len(labels) < 2:
            raise VariorumError("y", expected="at least 2 classes", found=f"one class, {labels[0]!r}",
                                do="Add rows of another class.")  # fmt: skip
        if len(set(map(word, labels))) < len(labels):
            raise VariorumError("y", expected="classes that read differently", found=f"{labels[:6]}",
                                do="Classes that differ in spaces only are one: write them alike.")  # fmt: skip
        self._learn(rows, pd.Series(values, name=name), labels, distributed)
        self.classes_ = classes
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row, (rows,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (rows, classes)."""
        said = self._answers(X)
        return said[[f"p({label})" for label in self.bundle_.labels]].to_numpy(np.float64)


def _label(value: Any) -> Any:
    """A class as a JSON value, so that a model file can say it."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool | int | str):
        return plain
    return int(plain) if is_whole(plain) else plain if isinstance(plain, float) else str(plain)
