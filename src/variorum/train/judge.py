"""The score on the valid split while training: when to take it, which parameters to keep, when to stop."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.data.task import Task
from variorum.train.learner import Autocast, Learner, single
from variorum.train.team import ALONE, Team


class Keep(StrEnum):
    """Which parameters a training ends with."""

    LAST = "last"
    BEST = "best"
    """Those with the best score on the valid split."""


@dataclass
class Verdict:
    """What judging has found so far; goes into checkpoints.

    slot: how many of the evenly spaced moments to judge at are past.    stride: every so many batches of the valid
    split are looked at (0: not yet settled).    best: the best score, None before there is one, of the parameters after
    step ``best_step``.    stale: judgements since then.
    """

    slot: int = 0
    stride: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0

    def take(self, score: float, step: int, *, higher_is_better: bool) -> bool:
        """Note a score; is it the best so far? One that is no number never is."""
        better = self.best is None or (score > self.best if higher_is_better else score < self.best)
        if math.isnan(score) or not better:
            self.stale += 1
            return False
        self.best, self.best_step, self.stale = score, step, 0
        return True


class Judge:
    """Scores a learner's model on the valid split in batches of ``size`` rows.

    A judgement looks at no more than half as many batches as were trained on before the first, and so between any two,
    so that judging takes at most about a quarter of the time. If the split is longer, it looks at every k-th batch,
    always the same ones.
    """

    def __init__(self, task: Task, size: int) -> None:
        self.task, self.size = task, size

    def stride(self, trained: int) -> int:
        """The k for which every k-th batch is about half of ``trained`` batches, at least one."""
        batches = sum(1 for _ in self.task.held_out("valid", self.size))
        if not batches:
            raise VariorumError("task", expected="rows in its valid split, which the training is judged on",
                                found="none", do="Give more data, or train with evaluations=0.")  # fmt: skip
        return math.ceil(batches / max(trained // 2, 1))

    @torch.no_grad()
    def score(
        self,
        learner: Learner,
        stride: int,
        *,
        autocast: Autocast,
        to_device: Callable[[Any], Any],
        late: Callable[[], bool],
        team: Team = ALONE,
    ) -> float | None:
        """The mean score over every ``stride``-th batch; None if time ran out before the last one.

        The processes of a team look at one batch each, turn by turn, and all ask before a turn whether it is late.
        """
        scores: list[Tensor] = []
        chosen = itertools.islice(self.task.held_out("valid", self.size), None, None, stride)
        learner.eval()
        try:
            while turn := list(itertools.islice(chosen, team.size)):
                if late():
                    return None
                for batch in turn[team.rank : team.rank + 1]:
                    with autocast():
                        outputs = learner.model(**to_device(batch.inputs))
                    scores.append(self.task.scores(single(outputs), to_device(batch.targets)))
        finally:
            learner.train()
        return team.mean(torch.cat(scores).cpu().double() if scores else torch.zeros(0, dtype=torch.float64))
