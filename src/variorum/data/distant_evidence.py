"""A question, and far from it the only sentence that answers it. After Qin et al. 2022, arXiv:2202.07856."""

from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.task import Batch


class DistantEvidence(GeneratedClasses):
    """A row begins with a question about one of ``subjects``; somewhere in its second half stands a marked sentence
    that says something of every subject; which of ``answers`` does it say of the one that was asked for?

    The rest is random filler. A word of the sentence stands for a subject and what is said of it, and is said
    ``times`` times; the words come in random order. inputs (size, length) ids: the questions, the sentence's words,
    the filler; targets (size,) the answer. Made, not found.
    """

    reads = "symbol rows"
    examples = ({"length": 32, "subjects": 2, "answers": 3, "times": 2, "rows": 16},)

    def __init__(
        self, *, length: int = 512, subjects: int = 4, answers: int = 4, times: int = 4, filler: int = 32,
        rows: int = 256,
    ) -> None:  # fmt: skip
        if min(subjects, times, filler, rows) < 1 or answers < 2 or 2 * subjects * times >= length:
            raise VariorumError("DistantEvidence", expected="two answers, and a sentence shorter than half of a row",
                                found=f"length {length}, subjects {subjects}, answers {answers}, times {times}",
                                do="Choose others.")  # fmt: skip
        self.length, self.subjects, self.answers, self.times = length, subjects, answers, times
        self.filler, self.rows = filler, rows
        self.labels = tuple(range(answers))

    @property
    def facts(self) -> dict[str, Any]:
        words = self.subjects * (1 + self.answers)
        return {"vocab": words + self.filler, "classes": self.answers, "length": self.length}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        words, said = self.subjects * (1 + self.answers), self.subjects * self.times
        ids = words + torch.randint(self.filler, (size, self.length), generator=generator)
        told = torch.randint(self.answers, (size, self.subjects), generator=generator)
        sentence = (self.subjects + torch.arange(self.subjects) * self.answers + told).repeat(1, self.times)
        sentence = sentence.gather(1, torch.rand(size, said, generator=generator).argsort(dim=1))
        begins = torch.randint(self.length // 2, self.length - said + 1, (size, 1), generator=generator)
        ids.scatter_(1, begins + torch.arange(said), sentence)
        asked = torch.randint(self.subjects, (size, 1), generator=generator)
        ids[:, :1] = asked
        return Batch({"inputs": ids}, told.gather(1, asked).squeeze(1))
