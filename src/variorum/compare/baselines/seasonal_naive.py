"""The forecast that repeats the last season. Hyndman & Athanasopoulos 2021."""

import time
from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.measure import score
from variorum.core import Part, Spec
from variorum.data.task import Task
from variorum.models.seasonal_naive import SeasonalNaive
from variorum.train.recipe import Recipe, Run


class AsItIs(Recipe):
    """There is nothing to learn: what the task tells completes the model."""

    def train(self, spec: Spec[Any], task: Task, run: Run) -> Part:
        began = time.monotonic()
        model = spec.fill(**task.facts).build().eval()
        valid = score(model, task, split="valid").mean
        run.report({"step": 1, "valid": valid, "seconds": time.monotonic() - began})
        return model


class RepeatingTheSeason(Baseline):
    """The last season again; the last value where there is no season."""

    name, title, reads = "seasonal-naive", "repeating the last season", ("series",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return SeasonalNaive.spec(), AsItIs.spec()
