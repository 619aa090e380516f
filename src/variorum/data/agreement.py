"""A small language pair: phrases change their order, and words agree with others. Made, not found."""

from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.generated_sequences import GeneratedSequences
from variorum.data.task import Batch


class Agreement(GeneratedSequences):
    """The source is ``phrases`` of an adjective and a noun each; the target has them from last to first, the noun
    before its adjective, and the adjective in the form of the noun's gender.

    source and target (size, 2 * phrases) ids: adjectives 0 ... words - 1, then as many nouns, of which each second is
    of the other gender, then the two forms of adjectives, then START; the target begins with START and is told its own
    next word. The score is 1 for a row told without a fault.
    """

    reads = "source and target"

    def __init__(self, *, phrases: int = 5, words: int = 20, rows: int = 512) -> None:
        if phrases < 1 or words < 2 or rows < 1:
            raise VariorumError("Agreement", expected="a phrase and a row at least, and two words of each kind",
                                found=f"phrases {phrases}, words {words}, rows {rows}",
                                do="Choose others.")  # fmt: skip
        self.phrases, self.words, self.rows = phrases, words, rows
        self.begin = 4 * words

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.begin + 1, "length": 2 * self.phrases}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        adjectives, nouns = torch.randint(self.words, (2, size, self.phrases), generator=generator)
        source = torch.stack([adjectives, self.words + nouns], dim=2)
        forms = (2 + nouns % 2) * self.words + adjectives
        told = torch.stack([self.words + nouns, forms], dim=2).flip(1).flatten(1)
        target = torch.cat([torch.full((size, 1), self.begin), told[:, :-1]], dim=1)
        return Batch({"source": source.flatten(1), "target": target}, told)
