"""Direct linear forecasts: ridge regression (Hoerl & Kennard 1970) from the past to the horizon, as NLinear."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.penalised import Attempt, best_of
from variorum.compare.measure import score
from variorum.core import Spec, VariorumError
from variorum.data.forecast import ForecastTask
from variorum.data.task import Task
from variorum.models.linear_forecaster import LinearForecaster
from variorum.train.recipe import Recipe, Run


class DirectRidge(Recipe):
    """Fits one ridge to the windows of all series for each weight of the penalty; the best on validation rows is kept.

    penalties: for each window, strong to weak.     reach: part of the context that is looked at, the last steps of
    it.     most: training windows, evenly over the training part.
    """

    searched: ClassVar[Mapping[str, BaseDistribution]] = {"reach": FloatDistribution(0.1, 1.0)}

    def __init__(
        self,
        *,
        penalties: tuple[float, ...] = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5),
        reach: float = 1.0,
        most: int = 20_000,
    ) -> None:
        if not 0 < reach <= 1:
            raise VariorumError("DirectRidge", expected="a reach above 0 and at most 1", found=repr(reach),
                                do="Give the part of the context that is to be looked at.")  # fmt: skip
        self.penalties, self.reach, self.most = penalties, reach, most

    def train(self, spec: Spec[Any], task: Task, run: Run) -> LinearForecaster:
        from sklearn.linear_model import Ridge

        assert isinstance(task, ForecastTask), "the baseline reads series"
        began = time.monotonic()
        past, ahead = task.windows("train", self.most)
        rows, targets = (np.swapaxes(part, 1, 2).reshape(-1, part.shape[1]) for part in (past, ahead))
        last = rows[:, -1:]
        rows, targets = (rows - last).astype(np.float64), (targets - last).astype(np.float64)
        context = rows.shape[1]
        near = rows[:, -max(1, round(self.reach * context)) :]

        def fit(penalty: float) -> tuple[LinearForecaster, float]:
            fitted = Ridge(alpha=penalty * len(near)).fit(near, targets)
            model = LinearForecaster.from_sklearn(fitted, variables=task.facts["variables"], context=context)
            return model, score(model, task, split="valid").mean

        attempts = (Attempt({"penalty": penalty}, partial(fit, penalty)) for penalty in self.penalties)
        return best_of(attempts, task, run, began=began, dearer=1.0)


class LinearForecasts(Baseline):
    """A ridge regression from the context to the whole horizon."""

    name, title, reads = "linear-forecast", "a linear forecast", ("series",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return LinearForecaster.spec(), DirectRidge.spec()
