"""A linear model: logistic regression for classes (Cox 1958), ridge for values (Hoerl and Kennard 1970)."""

import time
from functools import partial
from typing import Any

import numpy as np
import torch

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.penalised import Attempt, best_of, fit_quietly, solver
from variorum.core import Spec
from variorum.data.images import ImageTask
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.models.linear import LinearModel, linear_features
from variorum.train.recipe import Recipe, Run


class Penalised(Recipe):
    """Fits the linear model for each weight of the L2 penalty, strong to weak, and keeps the best on validation rows.

    penalties: of a standardised input, as scikit-learn's ``alpha`` (1 / C).     iterations: of the solver, at most.
    """

    def __init__(
        self, *, penalties: tuple[float, ...] = (1000.0, 100.0, 10.0, 1.0, 0.1), iterations: int = 300
    ) -> None:
        self.penalties, self.iterations = penalties, iterations

    def train(self, spec: Spec[Any], task: Task, run: Run) -> LinearModel:
        assert isinstance(task, TableTask | ImageTask), "the baseline reads tables and images"
        began = time.monotonic()
        columns = column_codes(task)
        (rows, targets), (valid, known) = (features(task, part, columns) for part in ("train", "valid"))

        def fit(penalty: float) -> tuple[LinearModel, float]:
            unfitted = solver(task.writes, penalty, iterations=self.iterations, seed=run.seed)
            model = LinearModel.from_sklearn(fit_quietly(unfitted, rows, targets), columns=columns)
            with torch.inference_mode():
                outputs = model.linear(torch.from_numpy(valid))
                told = outputs if model.outputs > 1 else outputs[:, 0]
                return model, float(task.scores(told, torch.from_numpy(known)).mean())

        attempts = (Attempt({"penalty": penalty}, partial(fit, penalty)) for penalty in self.penalties)
        # A weaker penalty takes the solver longer.
        return best_of(attempts, task, run, began=began, dearer=2.0)


def column_codes(task: TableTask | ImageTask) -> tuple[int, ...]:
    """For each input 0 if it is a number, else how many codes there are; the pixels of an image are numbers."""
    if isinstance(task, TableTask):
        return tuple(task.facts["columns"])
    facts = task.facts
    return (0,) * (facts["channels"] * facts["height"] * facts["width"])


def features(task: TableTask | ImageTask, part: str, columns: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """:func:`linear_features` of the rows of train, valid or test, and their targets."""
    rows, targets = task.arrays(part)
    return linear_features(torch.from_numpy(rows), columns).numpy(), targets


class LinearRegression(Baseline):
    """Logistic regression or ridge on the encoded columns, or on the pixels."""

    name, title, reads = "linear", "a linear model", ("table", "images")

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return LinearModel.spec(), Penalised.spec()
