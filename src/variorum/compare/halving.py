"""Asynchronous successive halving as a pure function of the trials before. Li et al. 2020, arXiv:1810.05934."""

import math

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial


class Halving(BasePruner):
    """Stops a trial at a rung (a step that was reported) unless it is in the better half of those that came there.

    Half of n trials is n // 2, at least one; of equal ones the earlier is the better. Only trials with lower numbers
    count, so that a trial which is judged again after an interruption is judged alike; Optuna's own pruner notes in the
    storage that a rung was passed, and lets a trial go on that was interrupted just then.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Should the trial end at the last step that it reported?"""
        step = trial.last_step
        if step is None:
            return False
        value = trial.intermediate_values[step]
        if math.isnan(value):
            return True
        sign = 1 if study.direction is StudyDirection.MAXIMIZE else -1
        before = [t.intermediate_values[step] for t in study.get_trials(deepcopy=False)
                  if t.number < trial.number and step in t.intermediate_values]  # fmt: skip
        better = sum(sign * other >= sign * value for other in before)
        return better >= max(1, (len(before) + 1) // 2)
