"""Gradient descent: the one training loop."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from variorum.core import Part, Spec, VariorumError
from variorum.data.task import Task
from variorum.train.judge import Keep
from variorum.train.launch import train_together
from variorum.train.loop import Loop
from variorum.train.optimizer import AdamW, Optimizer
from variorum.train.precision import Precision
from variorum.train.recipe import Recipe, Run
from variorum.train.schedule import Schedule, WarmupCosine


class Descent(Recipe):
    """Trains by stochastic gradient descent on the task's objective until the budget is spent.

    A step draws ``batch`` rows, takes the gradient of the objective's mean over all their real targets, clips it, and
    lets the optimiser move the parameters at the rate that the schedule gives for the part of the budget that is spent
    (the nearer of two limits counts).

    batch: rows of a step.    accumulate: equal pieces in which they go through the model, to need less memory; the
    gradient is that of the whole.    clip: longest gradient (Pascanu et al. 2013, arXiv:1211.5063), None: no limit.
    precision: of arithmetic; "auto" measures which is faster.    evaluations: how often, evenly over the budget, the
    score on the valid split is taken (see :class:`variorum.train.judge.Judge`), the last time at its end; 0: never.
    keep: the last parameters, or the best by that score.    patience: stop after so many judgements in a row that bring
    nothing better.    report: steps between two reports.

    Reports are dicts. Every ``report`` steps, and where a score is taken: step (done so far), loss (the objective's
    mean, of this step), lr, gradient_norm (before clipping), seconds, targets_per_second; spent (the part of the
    budget); auxiliary, if parts tell losses of their own; valid, if a score was taken. Before the first step, if
    precision was measured: step 0, precision, why.

    With a folder, it holds a checkpoint; a run with the same spec, recipe and seed goes on from there, and one that is
    finished is only read. Step and seed alone decide a step's rows and random numbers (those of torch's own
    generators), so with a budget of steps, resumed and uninterrupted trainings end with the same bits. A budget may be
    made longer: the schedule then follows the new one. With a budget of seconds a resumed training goes on with the
    seconds that were left, at the rate for the part that is spent; but no two runs take the same number of steps in
    them, so their results differ.

    Seconds include everything from the call on but the import of libraries. The training ends at most one step, or one
    batch of a judgement, late: time is kept for a last judgement, by the longest so far, and one that comes too late is
    given up.

    On several processes (``Run.distributed``) every step is the one that one process would take: see
    :class:`~variorum.train.distributed.Distributed`.

    Raises :class:`VariorumError` for a budget without limits, a loss or gradient that is not finite, a folder that
    holds a checkpoint of another training, and a checkpoint that cannot be written. On Ctrl-C it finishes the step,
    writes the checkpoint and raises KeyboardInterrupt; a second Ctrl-C stops at once.
    """

    keeps_spec, distributes = True, True
    searched: ClassVar[Mapping[str, BaseDistribution]] = {
        "optimizer.lr": FloatDistribution(2e-4, 8e-3, log=True),
        "batch": CategoricalDistribution((8, 16, 32, 64)),
    }

    def __init__(
        self,
        *,
        batch: int = 32,
        accumulate: int = 1,
        optimizer: Spec[Optimizer] = AdamW.spec(),
        schedule: Spec[Schedule] = WarmupCosine.spec(),
        clip: float | None = 1.0,
        precision: Precision = Precision.FP32,
        evaluations: int = 10,
        keep: Keep = Keep.BEST,
        patience: int | None = None,
        report: int = 10,
    ) -> None:
        if batch < 1 or accumulate < 1 or batch % accumulate:
            raise VariorumError("Descent", expected="a batch of at least one row, and accumulate that divides it",
                                found=f"batch {batch}, accumulate {accumulate}", do="Choose others.")  # fmt: skip
        if evaluations < 0 or report < 1 or (clip is not None and clip <= 0) or (patience is not None and patience < 1):
            raise VariorumError("Descent", expected="evaluations not below 0; report, patience and clip above 0",
                                found=f"evaluations {evaluations}, report {report}, patience {patience}, clip {clip}",
                                do="Choose others; clip=None and patience=None mean never.")  # fmt: skip
        self.batch, self.accumulate, self.clip, self.precision = batch, accumulate, clip, Precision(precision)
        self.optimizer, self.schedule = optimizer, schedule
        self.evaluations, self.keep, self.patience, self.report = evaluations, Keep(keep), patience, report
        self.choices: Spec[Descent] = Descent.spec(
            batch=batch, accumulate=accumulate, optimizer=optimizer, schedule=schedule, clip=clip, precision=precision,
            evaluations=evaluations, keep=keep, patience=patience,
        )  # fmt: skip
        """All that decides the outcome of a training; ``report`` does not."""

    def train(self, spec: Spec[Any], task: Task, run: Run) -> Part:
        if run.distributed is not None:
            return train_together(self, spec, task, run, run.distributed)
        with torch.random.fork_rng():
            loop = Loop(self, spec, task, run)
            loop.train()
            return loop.model()
