"""Pairs of documents: are they about the same? Made, not found."""

from typing import Any

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.task import Batch


class TopicPairs(GeneratedClasses):
    """Two documents of ``length`` symbols each; half of the pairs are of one topic, the others of two.

    A topic is a set of ``own`` symbols, which no other topic has. A symbol of a document is one of its topic's with the
    probability ``share``, and else any. inputs ``other`` and ``inputs`` (size, length) ids; the score is accuracy, and
    a guess has a half.
    """

    reads = "topic pairs"
    labels = ("apart", "together")

    def __init__(
        self, *, topics: int = 8, own: int = 8, length: int = 48, share: float = 0.35, rows: int = 512
    ) -> None:
        if topics < 2 or min(own, length, rows) < 1 or not 0 < share <= 1:
            raise VariorumError("TopicPairs", expected="two topics or more, sizes from 1, a share above 0",
                                found=f"topics {topics}, own {own}, length {length}, share {share}, rows {rows}",
                                do="Choose others.")  # fmt: skip
        self.topics, self.own, self.length, self.share, self.rows = topics, own, length, share, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.topics * self.own, "classes": len(self.labels), "length": self.length}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        alike = torch.rand(size, generator=generator) < 0.5
        first = torch.randint(self.topics, (size,), generator=generator)
        away = torch.randint(1, self.topics, (size,), generator=generator)
        second = torch.where(alike, first, (first + away) % self.topics)
        inputs = {"other": self._document(first, generator), "inputs": self._document(second, generator)}
        return Batch(inputs, alike.long())

    def _document(self, topic: Tensor, generator: torch.Generator) -> Tensor:
        shape = (len(topic), self.length)
        own = topic[:, None] * self.own + torch.randint(self.own, shape, generator=generator)
        other = torch.randint(self.topics * self.own, shape, generator=generator)
        return torch.where(torch.rand(shape, generator=generator) < self.share, own, other)
