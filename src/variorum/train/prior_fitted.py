"""Fit a network to a prior over data sets, then let it answer from the user's rows. Müller et al. 2021."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from variorum.core import Part, Spec, VariorumError
from variorum.data.priors.mixed import MixedPrior
from variorum.data.priors.prior import Prior
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.models.in_context import InContext
from variorum.train.descent import Descent
from variorum.train.judge import Keep
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Recipe, Run


class PriorFitted(Recipe):
    """Gradient descent on data sets drawn from ``prior`` until the budget is spent; the task's training rows are only
    looked at afterwards, and never trained on.

    Müller et al. 2021, arXiv:2112.10510; Hollmann et al. 2022, arXiv:2207.01848. The prior stays as wide as it is: the
    network does not know the table. most_rows: known rows kept; of a longer table the same share of each class is
    drawn. Raises VariorumError for a table that asks for a number, and for more columns or classes than the network
    takes.
    """

    distributes, needs = True, frozenset({"columns", "classes"})
    searched: ClassVar[Mapping[str, BaseDistribution]] = {
        "descent.optimizer.lr": FloatDistribution(5e-4, 8e-3, log=True),
        "descent.batch": CategoricalDistribution((8, 16, 32)),
    }

    def __init__(
        self,
        *,
        prior: Spec[Prior] = MixedPrior.spec(),
        descent: Spec[Descent] = Descent.spec(
            batch=16, evaluations=0, keep=Keep.LAST, optimizer=AdamW.spec(lr=2e-3, weight_decay=0.0)),
        members: int = 16,
        most_rows: int = 1024,
    ) -> None:  # fmt: skip
        self.prior, self.descent, self.members, self.most_rows = prior, descent, members, most_rows

    def train(self, spec: Spec[Any], task: Task, run: Run) -> Part:
        if not isinstance(task, TableTask) or "classes" not in task.facts:
            raise VariorumError("task", expected="a table whose target is a class", found=f"{type(task).__name__}",
                                do="Choose another system for this task.")  # fmt: skip
        facts, outputs = task.facts, spec.at("head.outputs")
        if len(facts["columns"]) > spec.at("embed.features") or facts["classes"] > outputs:
            raise VariorumError("table", expected=f"at most {spec.at('embed.features')} columns and {outputs} classes",
                                found=f"{len(facts['columns'])} columns and {facts['classes']} classes",
                                do="Choose another system for this table.")  # fmt: skip
        x, y = task.arrays("train")
        chosen = _even_share(y, self.most_rows, run.seed)
        model = self.descent.build().train(spec, self.prior.build(), run)
        knowing = InContext.spec(
            rows=len(chosen), outputs=outputs, members=self.members, model=spec, columns=facts["columns"],
            classes=facts["classes"],
        ).build()  # fmt: skip
        knowing.model.load_state_dict(model.state_dict())
        knowing.know(torch.from_numpy(x[chosen]), torch.from_numpy(y[chosen]).long())
        return knowing.eval()


def _even_share(y: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Indices of at most ``most`` rows, the same share of each class, of each class one if there is room."""
    order = np.random.default_rng(seed).permutation(len(y))
    place = np.empty(len(y))
    for label in np.unique(y):
        rows = order[y[order] == label]
        place[rows] = np.arange(len(rows)) / len(rows)
    return order[np.argsort(place[order], kind="stable")][:most]
