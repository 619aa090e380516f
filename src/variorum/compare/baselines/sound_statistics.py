"""Logistic regression (Cox 1958) on mean and deviation of a sound's log-mel frames (Davis & Mermelstein 1980)."""

from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.statistics import StatisticsFit
from variorum.core import Spec
from variorum.data.task import Task
from variorum.models.on_summary import OnSummary
from variorum.models.summaries.sound_statistics import SoundStatistics
from variorum.models.summaries.summary import Summary
from variorum.train.recipe import Recipe

_SUMMARY: Spec[Summary] = SoundStatistics.spec()


class LinearOnSpectrum(Baseline):
    """Penalised logistic regression on the mean and the deviation of each band of mel."""

    name, title, reads = "linear-on-spectrum", "a linear model on the mean spectrum", ("sounds",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return OnSummary.spec(summary=_SUMMARY), StatisticsFit.spec(summary=_SUMMARY)
