"""Long memory at its plainest: name the first token of a row of noise."""

from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.task import Batch


class FirstTokenTask(GeneratedClasses):
    """The class of a row is its first id; random ids that are no classes follow it. Made, not found.

    inputs: (batch, length) ids; the first is below ``classes``, the others from there up to ``vocab``.
    """

    reads = "first token"

    def __init__(self, *, length: int = 1024, vocab: int = 9, classes: int = 8, rows: int = 256) -> None:
        if length < 1 or not 1 < classes < vocab:
            raise VariorumError("FirstTokenTask", expected="a length, and from 2 to vocab - 1 classes",
                                found=f"length {length}, classes {classes}, vocab {vocab}",
                                do="Choose others.")  # fmt: skip
        self.length, self.vocab, self.classes, self.rows = length, vocab, classes, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.vocab, "classes": self.classes, "length": self.length}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        ids = torch.randint(self.classes, self.vocab, (size, self.length), generator=generator)
        ids[:, 0] = torch.randint(self.classes, (size,), generator=generator)
        return Batch({"inputs": ids}, ids[:, 0].clone())
