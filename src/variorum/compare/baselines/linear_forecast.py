"""Direct linear forecasts: ridge regression (Hoerl & Kennard 1970) from the past to the horizon, as NLinear."""

import time
from typing import Any

import numpy as np

from variorum.compare.baselines.baseline import Baseline
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
        best, least = None, float("inf")
        for step, penalty in enumerate(self.penalties, start=1):
            began_fit = time.monotonic()
            fitted = Ridge(alpha=penalty * len(rows)).fit(rows, targets)
            model = LinearForecaster.from_sklearn(fitted, variables=task.facts["variables"])
            valid = score(model, task, split="valid").mean
            if best is None or valid < least:
                best, least = model, valid
            spent = time.monotonic() - began
            run.report({"step": step, "valid": valid, "penalty": penalty, "seconds": spent})
            if run.budget.seconds is not None and spent + time.monotonic() - began_fit > run.budget.seconds:
                break
        assert best is not None, "there is at least one penalty"
        return best


class LinearForecasts(Baseline):
    """A ridge regression from the context to the whole horizon."""

    name, title, reads = "linear-forecast", "a linear forecast", ("series",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return LinearForecaster.spec(), DirectRidge.spec()
