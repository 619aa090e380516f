"""Long memory at its plainest: name the first token of a row of noise."""

from typing import Any

import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.generated import Generated
from variorum.data.task import Batch
from variorum.objectives.cross_entropy import CrossEntropy


class FirstTokenTask(Generated):
    """The class of a row is its first id; random ids that are no classes follow it. Made, not found.

    inputs: (batch, length) ids; the first is below ``classes``, the others from there up to ``vocab``.
    """

    reads = "first token"
    metric = "accuracy"

    def __init__(self, *, length: int = 1024, vocab: int = 9, classes: int = 8, rows: int = 256) -> None:
        if length < 1 or not 1 < classes < vocab:
            raise VariorumError("FirstTokenTask", expected="a length, and from 2 to vocab - 1 classes",
                                found=f"length {length}, classes {classes}, vocab {vocab}",
                                do="Choose others.")  # fmt: skip
        self.length, self.vocab, self.classes, self.rows = length, vocab, classes, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.vocab, "classes": self.classes, "length": self.length}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec()

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return (outputs.argmax(-1) == targets).float()

    def make(self, generator: torch.Generator, size: int) -> Batch:
        ids = torch.randint(self.classes, self.vocab, (size, self.length), generator=generator)
        ids[:, 0] = torch.randint(self.classes, (size,), generator=generator)
        return Batch({"inputs": ids}, ids[:, 0].clone())
