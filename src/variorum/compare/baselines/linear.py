"""A linear model: logistic regression for classes (Cox 1958), ridge for values (Hoerl and Kennard 1970)."""

import time
from typing import Any

import numpy as np
import torch

from variorum.compare.baselines.baseline import Baseline
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
        sign = 1 if task.higher_is_better else -1
        best, highest = None, -float("inf")
        for step, penalty in enumerate(self.penalties, start=1):
            began_fit = time.monotonic()
            fitted = self._solver(task.writes, penalty, run.seed).fit(rows, targets)
            model = LinearModel.from_sklearn(fitted, columns=columns)
            with torch.inference_mode():
                outputs = model.linear(torch.from_numpy(valid))
                score = float(
                    task.scores(outputs if model.outputs > 1 else outputs[:, 0], torch.from_numpy(known)).mean()
                )
            if best is None or sign * score > highest:
                best, highest = model, sign * score
            spent = time.monotonic() - began
            run.report({"step": step, "valid": score, "penalty": penalty, "seconds": spent})
            # A weaker penalty takes the solver longer.
            another = 2 * (time.monotonic() - began_fit)
            if run.budget.seconds is not None and spent + another > run.budget.seconds:
                break
        assert best is not None, "there is at least one penalty"
        return best

    def _solver(self, writes: str, penalty: float, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        if writes == "class":
            return _Quiet(LogisticRegression(C=1 / penalty, max_iter=self.iterations, random_state=seed))
        return _Quiet(Ridge(alpha=penalty, random_state=seed))


class _Quiet:
    """A solver that may stop at its most iterations: what it has then is judged like the rest."""

    def __init__(self, solver: Any) -> None:
        self.solver = solver

    def fit(self, rows: np.ndarray, targets: np.ndarray) -> Any:
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self.solver.fit(rows, targets)


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
