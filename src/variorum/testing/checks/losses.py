"""Objectives: a loss is a total over a count, so that parts of a batch add up to the whole."""

import itertools
import typing
from typing import Any

import torch
from torch import Generator, Tensor

from variorum.core import Loss, Objective
from variorum.testing.checks.gradients import agree
from variorum.testing.compared import CLOSE, same
from variorum.testing.example import Example, seeded
from variorum.testing.suite import Need, promise

BATCH = 6


def _arrays(example: Example) -> dict[str, Any] | None:
    """The annotations of outputs and targets, where both are single tensors with named axes."""
    hints = typing.get_type_hints(vars(example.cls)["forward"], include_extras=True)
    found = {name: hints.get(name) for name in ("outputs", "targets")}
    return found if all("dim_str" in getattr(hint, "__dict__", {}) for hint in found.values()) else None


OBJECTIVE = Need("it is no objective", lambda e: issubclass(e.cls, Objective))
ARRAYS = Need("its outputs and targets are no plain annotated tensors", lambda e: _arrays(e) is not None)


@promise(OBJECTIVE, ARRAYS)
def loss_adds_up(example: Example) -> None:
    """The totals and counts of parts of a batch add up to those of the whole, and no target counts nothing."""
    outputs, targets = _drawn(example)
    whole = _loss(example, outputs, targets)
    parts = [_loss(example, outputs[a:b], targets[a:b]) for a, b in ((0, 1), (1, 4), (4, 4), (4, BATCH))]
    total, count = torch.stack([p.total for p in parts]).sum(), torch.stack([p.count for p in parts]).sum()
    same([total, count], [whole.total, whole.count], "the parts do not add up", CLOSE)
    empty = _loss(example, outputs[:0], targets[:0])
    assert empty.count == 0 and empty.total == 0 and empty.mean == 0, f"no targets gave {empty}"
    assert not whole.count.is_floating_point(), "the count is not a whole number"


@promise(OBJECTIVE, ARRAYS)
def loss_has_a_gradient(example: Example) -> None:
    """Its gradient reaches every row of the outputs, and agrees with finite differences."""
    outputs, targets = _drawn(example)
    outputs = outputs.double().requires_grad_()
    _loss(example, outputs, targets).mean.backward()
    assert outputs.grad is not None and outputs.grad.isfinite().all(), "the gradient is not finite"
    assert outputs.grad.reshape(BATCH, -1).any(dim=1).all(), "no gradient reaches some rows"
    agree(lambda o: _loss(example, o, targets).total, [outputs])


def _loss(example: Example, outputs: Tensor, targets: Tensor) -> Loss:
    with seeded(0):
        loss = example.part(outputs, targets)
    assert isinstance(loss, Loss), f"it gave a {type(loss).__name__} instead of a Loss"
    assert loss.total.shape == loss.count.shape == (), "total and count are not single numbers"
    return loss


def _drawn(example: Example) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the annotated shapes: ``*any`` is (batch,), every other axis has a size by its name."""
    sizes: dict[str, int] = {}
    widths = itertools.cycle((5, 4, 3))
    generator = Generator().manual_seed(0)
    found = []
    for hint in (_arrays(example) or {}).values():
        axes = [axis for axis in hint.dim_str.split() if not axis.startswith("*")]
        lead = [BATCH] if len(axes) < len(hint.dim_str.split()) or not axes else []
        names = axes if lead else axes[1:]
        shape = [BATCH, *(int(a) if a.isdigit() else sizes.setdefault(a, next(widths)) for a in names)]
        whole = any("int" in dtype for dtype in hint.dtypes)
        found.append(torch.randint(1, 3, shape, generator=generator) if whole
                     else torch.randn(shape, generator=generator, dtype=torch.float64))  # fmt: skip
    return found[0], found[1]
