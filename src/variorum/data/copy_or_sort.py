"""Sequence to sequence: copy a row, or sort it. Made, not found."""

from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.generated_sequences import GeneratedSequences
from variorum.data.task import Batch


class CopyOrSort(GeneratedSequences):
    """The source is a command and ``length`` symbols, drawn alike; the target is the symbols as they are (COPY), or in
    rising order (SORT), each command for half of the rows: easy and hard rows of one length.

    source (size, length + 1) and target (size, length) ids: symbols are 0 ... symbols - 1, then COPY, SORT and START;
    the target begins with START and is told its own next symbol. The score is 1 for a row told without a fault.
    """

    reads = "source and target"

    def __init__(self, *, length: int = 10, symbols: int = 16, rows: int = 512) -> None:
        if length < 1 or symbols < 2 or rows < 1:
            raise VariorumError("CopyOrSort", expected="a length and rows of at least 1, and two symbols",
                                found=f"length {length}, symbols {symbols}, rows {rows}",
                                do="Choose others.")  # fmt: skip
        self.length, self.symbols, self.rows = length, symbols, rows
        self.copy, self.sort, self.start = symbols, symbols + 1, symbols + 2

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.symbols + 3, "length": self.length + 1}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        symbols = torch.randint(self.symbols, (size, self.length), generator=generator)
        sort = torch.rand(size, 1, generator=generator) < 0.5
        told = torch.where(sort, symbols.sort(dim=1).values, symbols)
        command = torch.where(sort, self.sort, self.copy)
        start = torch.full((size, 1), self.start)
        target = torch.cat([start, told[:, :-1]], dim=1)
        return Batch({"source": torch.cat([command, symbols], dim=1), "target": target}, told)
