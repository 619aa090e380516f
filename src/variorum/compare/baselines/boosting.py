"""Gradient-boosted trees. Friedman 2001, "Greedy function approximation"; scikit-learn's histogram trees."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from variorum.compare.baselines.baseline import Baseline
from variorum.core import Spec
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.models.trees import TreeEnsemble
from variorum.train.recipe import Recipe, Run


class Boosting(Recipe):
    """Adds trees until the loss on the validation rows has not fallen for ``patience`` looks, or the budget is spent.

    every: trees (of each class) between two looks.     rate: of learning.     leaves: at most, of a tree.
    fewest: rows of a leaf.     share: of the columns, drawn anew for each split.     most: trees in all.     The
    ensemble with the lowest loss is kept.
    """

    searched: ClassVar[Mapping[str, BaseDistribution]] = {
        "rate": FloatDistribution(0.02, 0.3, log=True),
        "leaves": IntDistribution(4, 127, log=True),
        "fewest": IntDistribution(2, 50, log=True),
        "share": FloatDistribution(0.3, 1.0),
    }

    def __init__(
        self,
        *,
        every: int = 20,
        patience: int = 3,
        rate: float = 0.1,
        leaves: int = 31,
        fewest: int = 20,
        share: float = 1.0,
        most: int = 2000,
    ) -> None:
        self.every, self.patience, self.most = every, patience, most
        self.rate, self.leaves, self.fewest, self.share = rate, leaves, fewest, share

    def train(self, spec: Spec[Any], task: Task, run: Run) -> TreeEnsemble:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        assert isinstance(task, TableTask), "the baseline reads tables"
        began = time.monotonic()
        kind = HistGradientBoostingClassifier if task.writes == "class" else HistGradientBoostingRegressor
        fitted = kind(learning_rate=self.rate, max_leaf_nodes=self.leaves, min_samples_leaf=self.fewest,
                      max_features=self.share, max_iter=0, early_stopping=False, warm_start=True,
                      categorical_features=None, random_state=run.seed)  # fmt: skip
        rows, targets = task.arrays("train")
        objective = task.objective.fill(**task.facts).build()
        best, least, stale = None, float("inf"), 0
        for trees in range(self.every, self.most + 1, self.every):
            look = time.monotonic()
            fitted.set_params(max_iter=trees).fit(rows, targets)
            model = TreeEnsemble.from_sklearn(fitted)
            loss, score = _judge(model, task, objective)
            stale = 0 if loss < least else stale + 1
            if loss < least:
                best, least = model, loss
            spent = time.monotonic() - began
            run.report({"step": trees, "loss": loss, "valid": score, "seconds": spent})
            another = time.monotonic() - look
            if stale >= self.patience or (run.budget.seconds is not None and spent + another > run.budget.seconds):
                break
            if run.budget.steps is not None and trees >= run.budget.steps:
                break
        # A loss that is never a number leaves the last model, whose scores will say so.
        return model if best is None else best


def _judge(model: TreeEnsemble, task: TableTask, objective: Any) -> tuple[float, float]:
    """Loss and score on the validation rows."""
    losses, scores = [], []
    with torch.inference_mode():
        for batch in task.held_out("valid", 4096):
            outputs = model(**batch.inputs)
            losses.append(objective(outputs, batch.targets))
            scores.append(task.scores(outputs, batch.targets))
    total, count = sum(float(loss.total) for loss in losses), sum(float(loss.count) for loss in losses)
    return total / count, float(torch.cat(scores).mean())


class GradientBoosting(Baseline):
    """Gradient-boosted trees on the encoded columns."""

    name, title, reads = "gradient-boosting", "gradient boosting", ("table",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return TreeEnsemble.spec(), Boosting.spec()
