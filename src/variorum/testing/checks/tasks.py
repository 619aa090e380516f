"""Tasks: batches that can be drawn again, held-out rows that come once, and facts that can be written down."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from variorum.core import Layout, Objective, Spec
from variorum.data.task import Batch, Task
from variorum.testing.example import Example, seeded
from variorum.testing.suite import Need, promise

TASK = Need("it is no task", lambda e: issubclass(e.cls, Task))


@promise(TASK)
def batches_are_drawn_by_step_and_seed(example: Example) -> None:
    """The same step, size and seed give the same batch, also from a task built anew; another step or seed another."""
    with seeded(0):
        first = _numbers([example.part.batch(3, 4, 0)])
    with seeded(1):
        again, anew = _numbers([example.part.batch(3, 4, 0)]), _numbers([example.spec.build().batch(3, 4, 0)])
    assert _alike(first, again), "drawn a second time the batch is another: something but step and seed decides it"
    assert _alike(first, anew), "a task built anew draws another batch"
    others = [_numbers([example.part.batch(step, 4, seed)]) for step, seed in ((4, 0), (3, 1))]
    assert not all(_alike(first, other) for other in others), "step and seed change nothing"


@promise(TASK)
def held_out_rows_come_once(example: Example) -> None:
    """A split's rows are the same, in the same order, whatever the size of the batches."""
    for split in ("valid", "test"):
        large, small = (_numbers(example.part.held_out(split, size)) for size in (1000, 7))
        assert large, f"{split} is empty"
        assert _alike(large, small), f"{split} in batches of 7 differs from {split} in batches of 1000"


@promise(TASK)
def facts_are_plain(example: Example) -> None:
    """Its facts fill a spec and go to JSON with it, and its objective is the Spec of one."""
    task: Task = example.part
    for name, value in task.facts.items():
        plain = all(type(leaf) in (int, float, str, bool) for leaf in tree_leaves(value))
        assert plain, f"the fact {name} is {value!r}: numbers, words and tuples of them fill a spec"
    assert isinstance(task.objective, Spec) and issubclass(task.objective.cls, Objective), (
        f"its objective is {task.objective}"
    )
    assert task.metric and task.reads, "it does not say what it reads, or the name of its score"


def _numbers(batches: Iterable[Batch]) -> dict[str, Tensor]:
    """The numbers of inputs and targets, one batch after another; of layouts the lengths of rows."""
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, value in {**batch.inputs, "targets": batch.targets}.items():
            leaves = [torch.tensor(value.lengths)] if isinstance(value, Layout) and value.packed else _tensors(value)
            for index, leaf in enumerate(leaves):
                found.setdefault(f"{name}.{index}", []).append(leaf.flatten().double())
    return {name: torch.cat(parts) for name, parts in found.items()}


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.dim()]


def _alike(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(_equal(first[name], second[name]) for name in first)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
