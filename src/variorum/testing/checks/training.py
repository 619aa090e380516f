"""Training: which rows an answer may depend on while a part learns."""

import torch
from torch import Tensor, nn

from variorum.core import Part
from variorum.testing.compared import EXACT, same
from variorum.testing.example import Example, Row, Size, seeded
from variorum.testing.needs import CALLED, MODULE
from variorum.testing.suite import Need, promise


def batchwise(part: nn.Module) -> bool:
    """Does the part, or one that it holds, say that in training rows depend on each other?"""
    return any(module.traits.batchwise for module in part.modules() if isinstance(module, Part))


BATCHWISE = Need("it does not say that rows depend on each other in training", lambda e: batchwise(e.part))
ROWWISE = Need("it says that rows depend on each other in training", lambda e: not batchwise(e.part))


@promise(MODULE, CALLED, ROWWISE)
def rows_are_independent_in_training(example: Example) -> None:
    """In training, as in eval mode, another row in the batch leaves a row's answers as they are."""
    before, after = _answers(example)
    for r in (0, 2):
        same(after[r], before[r], f"in training, another row 1 changed row {r}: declare batchwise", EXACT)


@promise(MODULE, CALLED, BATCHWISE)
def rows_depend_in_training(example: Example) -> None:
    """In training another row in the batch does change a row's answers, as is declared."""
    before, after = _answers(example)
    moved = any(not torch.equal(a, b) for r in (0, 2) for a, b in zip(before[r], after[r], strict=True))
    assert moved, "in training another row changed nothing: batchwise is declared for no reason"


def _answers(example: Example) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """The answers in training to three rows, and to the same with another in the middle."""
    size = example.size(7)
    rows, (other,) = example.rows(size, size, size), example.rows(size, seed=2)
    return _trained(example, rows, size), _trained(example, [rows[0], other, rows[2]], size)


def _trained(example: Example, rows: list[Row], size: Size) -> list[list[Tensor]]:
    part = example.build().train()
    with seeded(0):
        return example.equal(part, rows, size)
