"""Chance: none where it is not asked for, and the same again under the same seed."""

from typing import Any

import torch
from torch import nn

from variorum.core import Spec, find
from variorum.core.registry import signature
from variorum.testing.compared import EXACT, same
from variorum.testing.example import Example, seeded, tensors
from variorum.testing.needs import CALLED, MODULE
from variorum.testing.suite import Need, promise

DROPOUT = Need("nothing in it has dropout", lambda e: dropped(e.spec) != e.spec)


@promise(MODULE, CALLED)
def eval_mode_repeats(example: Example) -> None:
    """In eval mode two calls give bit-equal answers, whatever the state of the random generator."""
    size = example.size(7)
    rows = example.rows(size, size)
    first, second = example.equal(example.part, rows, size), example.equal(example.part, rows, size)
    for found, wanted in zip(second, first, strict=True):
        same(found, wanted, "a second call gave other answers", 0)


@promise(MODULE, CALLED, DROPOUT)
def dropout_only_in_training(example: Example) -> None:
    """Dropout changes nothing in eval mode, drops something in training, and drops the same under the same seed."""
    size = example.size(7)
    rows = example.rows(size, size)
    part = example.build(spec=dropped(example.spec))
    plain = example.equal(example.part, rows, size)
    for found, wanted in zip(example.equal(part, rows, size), plain, strict=True):
        same(found, wanted, "with dropout, eval mode gave other answers", EXACT)
    part.train()
    first, again, other = (_seeded(example, part, rows, size, seed) for seed in (0, 0, 1))
    same(again, first, "training under one seed gave other answers the second time", 0)
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True)), "in training nothing is dropped"


def dropped(spec: Spec[Any]) -> Spec[Any]:
    """The spec with every ``dropout`` in its tree set to one half."""

    def visit(value: Any) -> Any:
        if isinstance(value, Spec):
            return dropped(value)
        return tuple(visit(v) for v in value) if isinstance(value, tuple) else value

    args = {name: visit(value) for name, value in spec.args}
    return Spec.of(spec.cls, {**args, **({"dropout": 0.5} if "dropout" in signature(find(spec.part)) else {})})


def _seeded(example: Example, part: nn.Module, rows: Any, size: Any, seed: int) -> list[torch.Tensor]:
    with seeded(seed):
        return tensors(part(**example.given(rows, size)))
