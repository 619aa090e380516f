"""k nearest neighbours. Fix and Hodges 1951; Cover and Hart 1967; scikit-learn's."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.linear import column_codes, features
from variorum.core import Spec
from variorum.data.images import ImageTask
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.models.nearest_rows import Metric, NearestRows
from variorum.train.recipe import Recipe, Run


class Neighbours(Recipe):
    """Stores the training rows, and asks as many neighbours as answer best on the validation rows.

    tried: numbers of neighbours.     metric: of distances.     most: rows that are stored.     judged: validation rows
    that are looked at. Of more rows that many are drawn at random.
    """

    searched: ClassVar[Mapping[str, BaseDistribution]] = {
        "metric": CategoricalDistribution(tuple(metric.value for metric in Metric)),
    }

    def __init__(
        self,
        *,
        tried: tuple[int, ...] = (1, 3, 5, 9, 15, 25, 45, 75, 125),
        metric: Metric = Metric.EUCLIDEAN,
        most: int = 10_000,
        judged: int = 2_000,
    ) -> None:
        self.tried, self.metric, self.most, self.judged = tried, Metric(metric), most, judged

    def train(self, spec: Spec[Any], task: Task, run: Run) -> NearestRows:
        assert isinstance(task, TableTask | ImageTask), "the baseline reads tables and images"
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

        began = time.monotonic()
        columns, classes = column_codes(task), task.facts.get("classes", 0)
        rows, targets = _some(features(task, "train", columns), self.most, run.seed)
        valid, known = _some(features(task, "valid", columns), self.judged, run.seed)
        tried = [k for k in self.tried if k <= len(rows)]
        kind = KNeighborsClassifier if classes else KNeighborsRegressor
        fitted = kind(n_neighbors=tried[-1], algorithm="brute", metric=self.metric.value).fit(rows, targets)
        nearest = targets[fitted.kneighbors(valid, return_distance=False)]  # (validation rows, neighbours)
        scores = {}
        for step, k in enumerate(tried, start=1):
            outputs = torch.from_numpy(_votes(nearest[:, :k], classes))
            scores[k] = float(task.scores(outputs, torch.from_numpy(known)).mean())
            run.report({"step": step, "valid": scores[k], "neighbours": k, "rows": len(rows),
                        "seconds": time.monotonic() - began})  # fmt: skip
        best = (max if task.higher_is_better else min)(tried, key=lambda k: scores[k])
        return NearestRows.from_sklearn(fitted.set_params(n_neighbors=best), columns=columns, classes=classes)


def _votes(nearest: np.ndarray, classes: int) -> np.ndarray:
    """Votes for each class, or the mean value, of the answers (rows, k) of the nearest."""
    if not classes:
        return nearest.mean(axis=1)
    return (nearest[..., None] == np.arange(classes)).sum(axis=1)


def _some(rows: tuple[np.ndarray, np.ndarray], most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many of the rows and targets, in their order."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows[0]))[:most])
    return rows[0][chosen], rows[1][chosen]


class NearestNeighbours(Baseline):
    """The training rows that are most like the one asked for, by the encoded columns or the pixels."""

    name, title, reads = "nearest-neighbours", "nearest neighbours", ("table", "images")

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return NearestRows.spec(), Neighbours.spec()
