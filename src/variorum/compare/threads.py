"""How many threads a training should have, where there are more cores than trainings: measured, not assumed."""

import time
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch

from variorum.compare.match import rows_of_step
from variorum.core import Spec
from variorum.data.task import Task
from variorum.train.learner import Learner

PASSES = 3
"""Timed passes with each number of threads, after one that is not counted."""
STEPS = 1000
"""Of a training, where a law chooses the rows of a step by how many there are."""


def faster(spec: Spec[Any], recipe: Spec[Any], task: Task, *, most: int) -> int:
    """One thread or ``most``, whichever takes a step of this configuration the faster; one where nobody can tell.

    Small models are slower on many threads: what each does takes less time than sharing it out.
    """
    if most == 1 or not recipe.cls.keeps_spec:
        return 1
    with torch.random.fork_rng(devices=[]):
        learner = Learner(spec.fill(**task.facts).build(), task.objective.fill(**task.facts).build()).train()
        batch = task.batch(0, rows_of_step(recipe, task, steps=STEPS), 0)
        taken = {}
        for threads in (1, most):
            torch.set_num_threads(threads)
            taken[threads] = median(_seconds(learner, batch) for _ in range(1 + PASSES))
    return min(taken, key=taken.__getitem__)


def _seconds(learner: Learner, batch: Any) -> float:
    began = time.perf_counter()
    learner(batch, nullcontext).mean.backward()
    learner.zero_grad(set_to_none=True)
    return time.perf_counter() - began
