"""MiniROCKET with a ridge classifier. Dempster et al. 2020, arXiv:2012.08791."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.summarised import (
    answered,
    judged,
    outputs,
    rows_of,
    summed_up,
    whole_rows,
)
from variorum.core import Spec
from variorum.data.task import Task
from variorum.data.whole_rows import WholeRowTask
from variorum.models.on_summary import NEVER, OnSummary
from variorum.models.summaries.minirocket import MiniRocket
from variorum.train.recipe import Recipe, Run

LARGER = 8.0
"""Times longer that twice as many rows are taken to need: the solver's work grows with the cube of their number."""
SHARE = 0.25
"""Of the seconds: what the first fit's features, and those of the validation rows, may each take."""


class RocketRidge(Recipe):
    """Fits ridge to the standardised features; its penalty has the least leave-one-out error of 10 from 0.001 to 1000.

    It begins with ``first`` training rows, drawn at random but with one of each class, and goes on with twice as many
    as long as there are more and the budget allows; the fit that is best on the validation rows, of which at most
    ``judges`` are taken, is kept. Scores of classes are multiplied by the factor, found on the validation rows too,
    that makes their softmax likeliest (Guo et al. 2017, arXiv:1706.04599).
    """

    examples = ({"summary": MiniRocket.spec(steps=20)},)
    searched: ClassVar[Mapping[str, BaseDistribution]] = {
        # Multiples of the 84 kernels; with fewer features answers come sooner, and large data are fitted whole.
        "summary.features": CategoricalDistribution((9996, 4956, 2016, 504)),
    }

    def __init__(self, *, summary: Spec[MiniRocket], first: int = 500, judges: int = 2000) -> None:
        self.summary, self.first, self.judges = summary, first, judges

    def train(self, spec: Spec[Any], task: Task, run: Run) -> OnSummary:
        rows, began = whole_rows(task), time.monotonic()
        summary = self.summary.fill(**task.facts)
        source = OnSummary.spec(summary=summary, outputs=outputs(rows)).build()
        source.summary.learn([row for batch in rows.given(rows.parts.train, 1024) for row in rows_of(batch)], run.seed)
        most = _affordable(source, rows, run.budget.seconds)
        order = _order(rows, run.seed)
        some = np.random.default_rng(run.seed).permutation(rows.parts.valid)[: min(self.judges, most)]
        valid, wanted = summed_up(source, rows, some)
        sign = 1 if task.higher_is_better else -1
        best, highest = source, -float("inf")
        count = min(max(min(self.first, most), 2 * outputs(rows)), len(order))
        found, targets = summed_up(source, rows, order[:0])
        while True:
            began_fit = time.monotonic()
            new, more = summed_up(source, rows, order[len(targets) : count])
            found, targets = torch.cat([found, new]), torch.cat([targets, more])
            source.know(found)
            fitted = _ridge(rows.writes).fit(source.standardise(found).numpy(), targets.numpy())
            model = answered(fitted, summary, source, rows)
            score = judged(model, rows, model.standardise(valid), wanted)
            if sign * score > highest:
                best, highest = model, sign * score
            now = time.monotonic()
            run.report({"step": count, "valid": score, "penalty": float(fitted.alpha_), "seconds": now - began})
            late = run.budget.seconds is not None and now - began + LARGER * (now - began_fit) > run.budget.seconds
            if count == len(order) or late:
                break
            count = min(2 * count, len(order))
        if rows.writes == "class":
            _sharpen(best, best.standardise(valid), wanted)
        return best


def _affordable(model: OnSummary, task: WholeRowTask, seconds: float | None) -> int:
    """Rows whose features may be taken in the share of the seconds, tried out on a few."""
    if seconds is None:
        return len(task.parts.train)
    few = task.parts.train[:8]
    began = time.monotonic()
    summed_up(model, task, few)
    return max(len(few), int(SHARE * seconds * len(few) / (time.monotonic() - began)))


def _order(task: WholeRowTask, seed: int) -> np.ndarray:
    """The training rows at random, but the first of each class before all others."""
    rows = np.random.default_rng(seed).permutation(task.parts.train)
    if task.writes == "value":
        return rows
    _, first = np.unique(task.targets(rows).numpy(), return_index=True)
    return np.concatenate([rows[first], np.delete(rows, first)])


def _ridge(writes: str) -> Any:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV

    return (RidgeClassifierCV if writes == "class" else RidgeCV)(alphas=np.logspace(-3, 3, 10))


def _sharpen(model: OnSummary, standard: Tensor, targets: Tensor) -> None:
    """Multiply the scores by the factor that makes the softmax of the known classes likeliest.

    Platt 1999, "Probabilistic outputs for support vector machines", smooths the known classes as is done here.
    """
    from scipy.optimize import minimize_scalar

    with torch.no_grad():
        seen = model.linear.bias > NEVER / 2
        scores, wanted = model.linear(standard).double()[:, seen], (seen.cumsum(0) - 1)[targets]
        # As if one more row could be of any class: rows that are all told right would make it infinitely sure.
        doubt = 1 / (len(targets) + 1)

        def loss(log: float) -> float:
            return float(F.cross_entropy(scores * float(np.exp(log)), wanted, label_smoothing=doubt))

        found = minimize_scalar(loss, bounds=(-3, 5), method="bounded")
        factor = float(np.exp(found.x))
        model.linear.weight.mul_(factor)
        model.linear.bias.mul_(factor)


class RocketBaseline(Baseline):
    """Shares of fixed convolutions above their biases, and ridge on them."""

    name, title, reads = "minirocket", "MiniROCKET with ridge", ("labelled series",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        summary = MiniRocket.spec()
        return OnSummary.spec(summary=summary), RocketRidge.spec(summary=summary)
