"""A linear model on simple statistics of a whole series, or of a shape."""

import time
from functools import partial
from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.penalised import Attempt, best_of, fit_quietly, solver
from variorum.compare.baselines.summarised import answered, judged, outputs, summed_up, whole_rows
from variorum.core import Spec
from variorum.data.task import Task
from variorum.models.on_summary import OnSummary
from variorum.models.summaries.series_statistics import SeriesStatistics
from variorum.models.summaries.shape_statistics import ShapeStatistics
from variorum.models.summaries.summary import Summary
from variorum.train.recipe import Recipe, Run


class StatisticsFit(Recipe):
    """Fits logistic regression, or ridge to values, for each weight of the L2 penalty, strong to weak, to the
    standardised summaries of the training rows, and keeps the best on the validation rows.

    penalties: as scikit-learn's ``alpha`` (1 / C).     iterations: of the solver, at most.
    """

    examples = ({"summary": SeriesStatistics.spec()},)

    def __init__(
        self, *, summary: Spec[Summary], penalties: tuple[float, ...] = (100.0, 10.0, 1.0, 0.1, 0.01),
        iterations: int = 1000,
    ) -> None:  # fmt: skip
        self.summary, self.penalties, self.iterations = summary, penalties, iterations

    def train(self, spec: Spec[Any], task: Task, run: Run) -> OnSummary:
        rows, began = whole_rows(task), time.monotonic()
        summary = self.summary.fill(**task.facts)
        source = OnSummary.spec(summary=summary, outputs=outputs(rows)).build()
        found, targets = summed_up(source, rows, rows.parts.train)
        source.know(found)
        valid, wanted = summed_up(source, rows, rows.parts.valid)
        standard, held = source.standardise(found), source.standardise(valid)

        def fit(penalty: float) -> tuple[OnSummary, float]:
            unfitted = solver(rows.writes, penalty, iterations=self.iterations, seed=run.seed)
            fitted = fit_quietly(unfitted, standard.numpy(), targets.numpy())
            model = answered(fitted, summary, source, rows)
            return model, judged(model, rows, held, wanted)

        attempts = (Attempt({"penalty": penalty}, partial(fit, penalty)) for penalty in self.penalties)
        # A weaker penalty takes the solver longer.
        return best_of(attempts, task, run, began=began, dearer=2.0)


class LinearOnStatistics(Baseline):
    """Logistic regression, or ridge, on simple statistics."""

    name, title = "linear-on-statistics", "a linear model on simple statistics"
    reads = ("labelled series", "point clouds")

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        summary: Spec[Summary] = SeriesStatistics.spec() if task.reads == "labelled series" else ShapeStatistics.spec()
        return OnSummary.spec(summary=summary), StatisticsFit.spec(summary=summary)
