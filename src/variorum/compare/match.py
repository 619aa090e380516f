"""What is made equal for all candidates: seconds, steps, parameters or arithmetic."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from statistics import median
from typing import Any, Self

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from variorum.compare.candidates import Candidate
from variorum.compare.measure import parameters
from variorum.core import Spec, VariorumError
from variorum.core.registry import signature
from variorum.data.task import Task
from variorum.train.auxiliary import auxiliary
from variorum.train.by_law import BATCH, ByLaw, tokens_of
from variorum.train.learner import Learner
from variorum.train.recipe import Recipe

BACKWARD = 2
"""A backward pass multiplies twice what its forward pass does: for the gradients of inputs and of parameters."""
MOST_STEPS = 2**40
TRIED = 2
"""Rows of the step whose FLOPs are counted where their number is not known yet."""


class Match(StrEnum):
    """What is the same for all candidates."""

    TIME = "time"
    """Seconds of training."""
    STEPS = "steps"
    PARAMETERS = "parameters"
    """Size, as near as the sizes come that a candidate has."""
    FLOPS = "flops"
    """Multiplications and additions of a whole training."""

    @classmethod
    def of(cls, name: str | None, steps: int | None) -> Self:
        """What a user asked for by name; unless by name, steps where a number of them was given, and time otherwise."""
        if name is None:
            return cls(cls.TIME if steps is None else cls.STEPS)
        if name not in list(cls):
            raise VariorumError("match", expected=" or ".join(repr(one.value) for one in cls), found=repr(name),
                                do="Choose one, or leave it out to match time.")  # fmt: skip
        return cls(name)


# -- parameters --------------------------------------------------------------------------------------------------------
def size_of(spec: Spec[Any], task: Task) -> int:
    """Parameters of a spec filled with the task's facts, counted on the meta device, which takes no memory."""
    with torch.device("meta"):
        return parameters(spec.fill(**task.facts).build())


def common_parameters(candidates: Sequence[Candidate], task: Task) -> int:
    """The size to match: the median of the default sizes of those that are trained for as long as they may.

    Raises :class:`VariorumError` if there is none.
    """
    sizes = [size_of(candidate.spec, task) for candidate in candidates if candidate.recipe.cls.keeps_spec]
    if not sizes:
        raise VariorumError("matching parameters", expected="candidates that are trained",
                            found="only ones that are solved", do="Choose some with --systems.")  # fmt: skip
    return round(median(sizes))


def matched_size(candidate: Candidate, task: Task, target_parameters: int) -> int:
    """Index of the size nearest to the target: that of the least |log(parameters / target)|, the first of equals."""
    apart = [abs(math.log(max(1, size_of(spec, task)) / target_parameters)) for spec in candidate.specs]
    return apart.index(min(apart))


def of_one_size(candidates: Sequence[Candidate], task: Task) -> list[Candidate]:
    """The candidates, each left with the size nearest to the common one; those that are solved stay as they are."""
    target = common_parameters(candidates, task)
    return [
        replace(c, specs=(c.specs[matched_size(c, task, target)],)) if c.recipe.cls.keeps_spec else c
        for c in candidates
    ]


# -- arithmetic --------------------------------------------------------------------------------------------------------
def training_flops(spec: Spec[Any], task: Task, recipe: Spec[Recipe], batch: int | None = None) -> int:
    """FLOPs of one training step, forward and backward, as :mod:`variorum.compare.flops` counts them.

    batch: rows of the step; None: the recipe's own. Where a backward pass cannot be counted it is taken for twice the
    forward pass. Raises :class:`VariorumError` for a recipe that does not say how many rows a step has.
    """
    rows = rows_of_step(recipe, task) if batch is None else batch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = task.objective.fill(**task.facts).build()
        learner = Learner(spec.fill(**task.facts).build(), objective).train()
        given = task.batch(0, rows, 0)
        with sdpa_kernel(SDPBackend.MATH), auxiliary(learner) as drain:
            with FlopCounterMode(display=False) as forward:
                loss = learner(given, nullcontext)
            extra = drain()
            whole = loss.total if extra is None else loss.total + loss.count * extra
            counted = forward.get_total_flops()
            try:
                with FlopCounterMode(display=False) as backward:
                    torch.autograd.backward(whole)
            except RuntimeError:  # an operation whose backward pass the counter cannot follow
                return (1 + BACKWARD) * counted
    return counted + backward.get_total_flops()


def rows_of_step(recipe: Spec[Recipe], task: Task, *, steps: int | None = None) -> int:
    """Rows of one step of a training. steps: of the whole training, by which :class:`ByLaw` chooses its rows.

    Raises :class:`VariorumError` for a recipe that does not say how many.
    """
    if issubclass(recipe.cls, ByLaw) and steps is not None:
        length = task.facts["length"]
        return max(1, round(BATCH(max(tokens_of(steps), float(length))) / length))
    if "batch" not in signature(recipe.cls):
        raise VariorumError(f"recipe {recipe.part}", expected="one that says how many rows a step has", found="none",
                            do="Pass batch= (or steps=, for the law's recipe).")  # fmt: skip
    return int(recipe["batch"])


def common_flops(candidates: Sequence[Candidate], task: Task, *, steps: int) -> int:
    """FLOPs of a whole training to match: the median of what ``steps`` steps of each default configuration take.

    Taken over all that are trained by steps on the task itself; raises :class:`VariorumError` if there is none.
    """
    found = [
        steps * training_flops(c.spec, task, c.recipe, rows_of_step(c.recipe, task, steps=steps))
        for c in candidates
        if c.recipe.cls.keeps_spec
    ]
    if not found:
        raise VariorumError("matching FLOPs", expected="candidates that are trained by steps", found="none",
                            do="Choose some with --systems.")  # fmt: skip
    return round(median(found))


def steps_for(flops: float, spec: Spec[Any], task: Task, recipe: Spec[Recipe]) -> int:
    """Steps of a training of this configuration that take so many FLOPs, at least one: the nearest number.

    Under :class:`ByLaw`, whose rows grow with the steps, the fewest that take no less.
    """
    if not issubclass(recipe.cls, ByLaw):
        return max(1, round(flops / training_flops(spec, task, recipe)))
    each = training_flops(spec, task, recipe, TRIED) / TRIED
    return 1 + bisect_left(range(1, MOST_STEPS), flops,
                           key=lambda steps: steps * each * rows_of_step(recipe, task, steps=steps))  # fmt: skip
