"""Learning rate and batch of a language model by a published law. Li et al. 2025, arXiv:2503.04715."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import nn

from variorum.core import Embed, Head, Part, Spec, VariorumError
from variorum.data.task import Task
from variorum.train.descent import Descent
from variorum.train.learner import Learner
from variorum.train.optimizer import AdamW
from variorum.train.power_law import PowerLaw
from variorum.train.precision import Precision
from variorum.train.recipe import Recipe, Run
from variorum.train.schedule import WarmupCosine

RATE = PowerLaw(1.79, (-0.713, 0.307))
"""Peak learning rate of N parameters and D tokens."""
BATCH = PowerLaw(0.58, (0.571,))
"""Tokens of a batch, of D tokens."""
FINAL_RATE = 1e-5
CHOSEN = "law.json"
TRIED = 4
"""Rows of the steps that the speed is tried out with."""


class ByLaw(Recipe):
    """Gradient descent on next-token prediction with peak rate 1.79 N^-0.713 D^0.307 and 0.58 D^0.571 tokens a step.

    N: parameters outside of embedding and head. D: tokens of the whole training, which a budget of steps gives by
    D = steps * 0.58 D^0.571, and a budget of seconds by the speed of a short trial. As in the paper: AdamW with betas
    0.9 and 0.95, weight decay 0.1, gradients of length 1 at most, a cosine down to the fixed rate 1e-5; the warm-up is
    a part of the budget, since the paper's 2000 steps are longer than most budgets here. Li et al. 2025,
    arXiv:2503.04715, fitted from 60M parameters up; a hundred thousand would get rates above 0.02 by it, at which they
    learn worse, so that none is above ``highest``. What was chosen is kept in the run's folder, so that a resumed
    training goes on with it.
    """

    keeps_spec, distributes, needs = True, True, frozenset({"vocab", "length"})

    searched: ClassVar[Mapping[str, BaseDistribution]] = {"highest": FloatDistribution(1e-3, 2e-2, log=True)}

    def __init__(self, *, highest: float = 6e-3, evaluations: int = 10, precision: Precision = Precision.FP32) -> None:
        if highest <= FINAL_RATE:
            raise VariorumError("ByLaw", expected=f"a highest rate above {FINAL_RATE}, which it falls to",
                                found=f"{highest}", do="Give a higher one.")  # fmt: skip
        self.highest, self.evaluations, self.precision = highest, evaluations, Precision(precision)

    def train(self, spec: Spec[Any], task: Task, run: Run) -> Part:
        length = task.facts.get("length")
        if length is None or "vocab" not in task.facts:
            raise VariorumError("task", expected="a language model's: one that tells vocab and length",
                                found=f"{type(task).__name__}", do="Train it by Descent.")  # fmt: skip
        began = time.monotonic()
        kept = run.folder / CHOSEN if run.folder is not None else None
        if kept is not None and kept.exists():
            chosen = json.loads(kept.read_text("utf-8"))
        else:
            chosen = self._choose(spec, task, run)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(chosen) + "\n", "utf-8")
        run.report({"step": 0, **chosen, "seconds": time.monotonic() - began})
        if run.budget.seconds is not None:
            seconds = max(run.budget.seconds - (time.monotonic() - began), 0.0)
            run = replace(run, budget=replace(run.budget, seconds=seconds))
        return self.descent(chosen["lr"], chosen["rows"]).build().train(spec, task, run)

    def descent(self, lr: float, rows: int) -> Spec[Descent]:
        """The paper's protocol at a rate and with so many rows a step."""
        return Descent.spec(
            batch=rows,
            optimizer=AdamW.spec(lr=lr, betas=(0.9, 0.95), weight_decay=0.1),
            schedule=WarmupCosine.spec(floor=min(FINAL_RATE / lr, 0.99)),
            precision=self.precision,
            evaluations=self.evaluations,
        )

    def _choose(self, spec: Spec[Any], task: Task, run: Run) -> dict[str, float]:
        torch.manual_seed(run.seed)
        model = spec.fill(**task.facts).build()
        length = task.facts["length"]
        limits = []
        if run.budget.steps is not None:
            limits.append(tokens_of(run.budget.steps))
        if run.budget.seconds is not None:
            limits.append(run.budget.seconds * _speed(model, task, run.seed))
        if not limits:
            raise VariorumError("budget", expected="seconds or steps", found="neither", do="Give one.")
        tokens = max(min(limits), float(length))
        rows = max(1, round(BATCH(tokens) / length))
        rate = min(RATE(inner_parameters(model), tokens), self.highest)
        return {"lr": rate, "rows": rows, "tokens": tokens}


def tokens_of(steps: int) -> float:
    """D with D = steps * 0.58 D^0.571: the tokens that so many steps of the law's own batch take."""
    (exponent,) = BATCH.exponents
    return float((steps * BATCH.coefficient) ** (1 / (1 - exponent)))


def inner_parameters(model: nn.Module) -> int:
    """Parameters outside of the parts that read and write the vocabulary."""
    outside = {id(p) for part in model.modules() if isinstance(part, Embed | Head) for p in part.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in outside)


def _speed(model: Part, task: Task, seed: int) -> float:
    """Tokens a second of a training step, the second of two."""
    learner = Learner(model, task.objective.build())
    seconds = 0.0
    for step in range(2):
        batch = task.batch(step, TRIED, seed)
        began = time.monotonic()
        learner(batch, torch.enable_grad).mean.backward()
        learner.zero_grad(set_to_none=True)
        seconds = time.monotonic() - began
    return TRIED * task.facts["length"] / seconds
