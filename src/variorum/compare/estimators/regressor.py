"""A system as a regressor of scikit-learn."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from variorum.compare.estimators.row_estimator import RowEstimator, answers_of
from variorum.train.distributed import Distributed


class VariorumRegressor(RegressorMixin, RowEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Estimates a value for each row of a table; ``score`` is R². More: see :class:`RowEstimator`."""

    def fit(self, X: Any, y: Any, *, distributed: Distributed | None = None) -> Self:
        """Train on a table and values (rows,). distributed: over which processes; None: in this one."""
        rows = self._open(X)
        values, name = answers_of(y)
        self._learn(rows, pd.Series(np.asarray(values, np.float64), name=name), None, distributed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The estimate of each row, (rows,), in the unit of training."""
        return self._answers(X)["prediction"].to_numpy(np.float64)
