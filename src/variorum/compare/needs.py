"""Memory of a training, estimated before it: so that one that does not fit is never begun.

A training holds its parameters, their gradients, the optimiser's state and a copy of the best parameters; the data; and
what a step takes for a while, which grows with the rows of a batch. The last is measured on a few real rows.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from variorum.compare.allocations import Allocations, Exhausted
from variorum.compare.available import available_bytes
from variorum.compare.held import held_bytes
from variorum.compare.measure import row_lengths
from variorum.compare.words import size
from variorum.core import Spec
from variorum.core.registry import signature
from variorum.data.task import Batch, Task
from variorum.runtime.trial import survey
from variorum.train.auxiliary import auxiliary
from variorum.train.descent import Descent
from variorum.train.judge import Keep
from variorum.train.learner import Learner, gradient
from variorum.train.precision import Precision
from variorum.train.recipe import Recipe

FEW, MORE = 2, 4
"""Rows of the two steps that are tried; one would not do where a norm takes its statistics over rows."""
DRAWN = 6
"""Batches that are drawn to find a heavy one, where rows are of different lengths."""
OVERHEAD = 26 * 2**20
"""What a training takes besides tensors: code that is loaded on first use, objects of the loop and the optimiser."""
COMPILED = 7 * 2**20 // 10
"""What oneDNN keeps for each matrix product of a shape of its own in bf16: code compiled for it, weights rearranged."""
CACHE = 360 * 2**20
"""The same where batches differ in tokens: almost every step compiles anew, until oneDNN's cache (1024) is full."""
SCATTER = 1.3
"""Resident memory is so many times what tensors take: work space of operations, gaps between pieces of freed memory."""


@dataclass(frozen=True)
class Need:
    """Bytes that a training takes. kept: parameters, buffers, optimiser's state, best copy; from beginning to end.

    step: the most that gradients, activations and a batch take at a time.     data: what the task holds.
    compiled: what is kept for products in bf16.
    """

    kept: int
    step: int
    data: int
    compiled: int = 0

    @property
    def total(self) -> int:
        """All of it, as it lies in memory."""
        return round(SCATTER * (self.kept + self.step)) + self.data + self.compiled + OVERHEAD


def training_bytes(spec: Spec[Any], task: Task, recipe: Spec[Recipe], *, batch: int) -> int:
    """Bytes that a process with the libraries loaded will take for a training, its data with it: see :func:`need`."""
    return need(spec, task, recipe, batch=batch).total


def need(spec: Spec[Any], task: Task, recipe: Spec[Recipe], *, batch: int) -> Need:
    """What a training of ``batch`` rows a step takes.

    Bytes of parameters are found on the meta device. If they fit, two steps of few rows are taken, forward and
    backward. If those of m1 and m2 > m1 tokens take a1 and a2 bytes besides gradients, one of m tokens is thought to
    take a2 + (m - m2) (a2 - a1) / (m2 - m1); m is that of the heaviest of some whole batches, and m1, m2 are of heavy
    rows too. Nothing beyond the memory that is free is taken for this: what far exceeds it is estimated too low, but
    above it.

    A recipe that names a task or a :class:`Descent` of its own (a prior to fit) trains on that, so, by its own batch.
    Of one that does not go by steps (a solver, boosting) nothing but the data is known.

    Constants were set by trainings of 8 to 128 rows on digits, iris, sunspots and Shakespeare, whose measured peaks
    are between 0.9 and 1.5 times the estimate; of uneven rows in bf16 it is that of a training of some hundred steps.
    """
    data = held_bytes(task)
    way = _way(recipe, task, batch)
    if way is None:
        return Need(0, 0, data)
    filled, facts = spec.fill(**way.task.facts), way.task.facts
    with torch.device("meta"):
        model, objective = survey(filled.build()), survey(way.task.objective.fill(**facts).build())
    weights = model.nbytes + objective.nbytes
    kept = 3 * weights + (model.nbytes if way.keeps_best else 0)
    free = available_bytes() - kept
    if free <= weights:
        return Need(kept, weights, data)
    step, products = _step_bytes(filled, way, most=free)
    compiled = max(products * COMPILED, CACHE if _uneven(way) else 0)
    return Need(kept, step, data, 0 if way.precision is Precision.FP32 else compiled)


def refusal(needed: int, available: int, workers: int) -> str | None:
    """Why ``workers`` trainings of so many bytes each do not fit in what is available, and what to do; None if they do.

    available: before any of them has begun; in one that has, ask for one worker.
    """
    if needed * workers <= available:
        return None
    fitting = available // needed
    together = f", {size(needed * workers)} for {workers} at a time" if workers > 1 else ""
    fewer = f"{fitting} {'worker' if fitting == 1 else 'workers'}, " if fitting else ""
    return (f"its training needs about {size(needed)} of memory{together}, and {size(available)} is available: "
            f"take {fewer}a smaller batch or a smaller size")  # fmt: skip


@dataclass(frozen=True)
class _Way:
    """Training by steps. rows: that go through the model at a time."""

    task: Task
    rows: int
    precision: Precision
    keeps_best: bool


def _way(recipe: Spec[Recipe], task: Task, batch: int) -> _Way | None:
    """What a recipe trains on and how, as far as it goes by steps."""
    if issubclass(recipe.cls, Descent):
        return _by_descent(recipe, task, batch)
    named = [value for name in signature(recipe.cls) if isinstance(value := recipe[name], Spec)]
    descent = next((found for found in named if issubclass(found.cls, Descent)), None)
    if descent is not None:
        own = next((found.build() for found in named if issubclass(found.cls, Task)), task)
        return _by_descent(descent, own, descent["batch"])
    if not recipe.cls.keeps_spec:
        return None
    return _Way(task, batch, Precision(recipe["precision"]), recipe["evaluations"] > 0)


def _by_descent(descent: Spec[Any], task: Task, batch: int) -> _Way:
    keeps_best = Keep(descent["keep"]) is Keep.BEST and descent["evaluations"] > 0
    return _Way(task, max(1, batch // descent["accumulate"]), Precision(descent["precision"]), keeps_best)


def _step_bytes(spec: Spec[Any], way: _Way, *, most: float) -> tuple[int, int]:
    """The most that gradients, activations and a batch take at a time in a step, and how many products it takes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner = Learner(spec.build(), way.task.objective.fill(**way.task.facts).build()).train()
        heaviest = _tokens(_heavy(way.task, way.rows))
        tried, products = [], 0
        for rows in sorted({min(FEW, way.rows), min(MORE, way.rows)}):
            batch = _heavy(way.task, rows)
            try:
                taken, passing, lasting = _step(learner, batch, way.precision, most=most)
            except Exhausted as error:
                return round(error.taken * max(1.0, heaviest / _tokens(batch))), 0
            tried.append((_tokens(batch), passing + _bytes(batch), lasting))
            products = len(taken.products)
    (fewer, less, _), (more, passing, lasting) = tried[0], tried[-1]
    slope = (passing.max() - less.max()) / (more - fewer) if more > fewer else passing.max() / more
    grown = 1 + max(0.0, slope) * (heaviest - more) / passing.max()
    return round(float((grown * passing + lasting).max())), products


def _step(
    learner: Learner, batch: Batch, precision: Precision, *, most: float
) -> tuple[Allocations, np.ndarray, np.ndarray]:
    """What a step does; bytes alive from one operation to the next: those that pass with it, and gradients."""
    autocast = partial(torch.autocast, "cpu", torch.bfloat16) if precision is Precision.BF16 else nullcontext
    with Allocations(most=most) as taken, auxiliary(learner) as drain:
        gradient(learner, [batch], autocast=autocast, backward=torch.Tensor.backward, drain=drain)
    passing, lasting = taken.alive_of(p.grad for p in learner.parameters() if p.grad is not None)
    learner.zero_grad(set_to_none=True)
    return taken, passing, lasting


def _heavy(task: Task, rows: int) -> Batch:
    """Of some training batches the one with the most tokens."""
    return max((task.batch(step, rows, 0) for step in range(DRAWN)), key=_tokens)


def _uneven(way: _Way) -> bool:
    return len({_tokens(way.task.batch(step, way.rows, 0)) for step in range(DRAWN)}) > 1


def _tokens(batch: Batch) -> int:
    return max(1, sum(row_lengths(batch.inputs)))


def _bytes(batch: Batch) -> int:
    return sum(t.nbytes for t in tree_leaves((batch.inputs, batch.targets)) if isinstance(t, Tensor))
