"""Direct linear forecasts: ridge regression (Hoerl & Kennard 1970) from the past to the horizon, as NLinear."""

import time
from functools import partial
from typing import Any

import numpy as np

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.penalised import Attempt, best_of
from variorum.compare.measure import score
from variorum.core import Spec
from variorum.data.forecast import ForecastTask
from variorum.data.task import Task
from variorum.models.linear_forecaster import LinearForecaster
from variorum.train.recipe import Recipe, Run


class DirectRidge(Recipe):
    """Fits one ridge to the windows of all series for each weight of the penalty; the best on validation rows is kept.

    penalties: for each window, strong to weak.     most: training windows, evenly over the training part.
    """

    def __init__(
        self, *, penalties: tuple[float, ...] = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5), most: int = 20_000
    ) -> None:
        self.penalties, self.most = penalties, most

    def train(self, spec: Spec[Any], task: Task, run: Run) -> LinearForecaster:
        from sklearn.linear_model import Ridge

        assert isinstance(task, ForecastTask), "the baseline reads series"
        began = time.monotonic()
        past, ahead = task.windows("train", self.most)
        rows, targets = (np.swapaxes(part, 1, 2).reshape(-1, part.shape[1]) for part in (past, ahead))
        last = rows[:, -1:]
        rows, targets = (rows - last).astype(np.float64), (targets - last).astype(np.float64)

        def fit(penalty: float) -> tuple[LinearForecaster, float]:
            fitted = Ridge(alpha=penalty * len(rows)).fit(rows, targets)
            model = LinearForecaster.from_sklearn(fitted, variables=task.facts["variables"])
            return model, score(model, task, split="valid").mean

        attempts = (Attempt({"penalty": penalty}, partial(fit, penalty)) for penalty in self.penalties)
        return best_of(attempts, task, run, began=began, dearer=1.0)


class LinearForecasts(Baseline):
    """A ridge regression from the context to the whole horizon."""

    name, title, reads = "linear-forecast", "a linear forecast", ("series",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return LinearForecaster.spec(), DirectRidge.spec()
