"""A question at the beginning of a long text, answered by one of its paragraphs."""

from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.task import Batch


class ParagraphLookup(GeneratedClasses):
    """Paragraphs of ``size`` ids: the first holds a key, each other one a key of its own and a value; the class of the
    row is the value that stands with the key of the first. All else is filler. Made, not found.

    Which paragraph has the key, and where in a paragraph key and value stand, is drawn for every row. Ids: 0 is filler,
    then come the values, then the keys. inputs (batch, length), length = size * paragraphs.
    """

    reads = "paragraph lookup"

    def __init__(self, *, paragraphs: int = 16, size: int = 16, values: int = 8, rows: int = 512) -> None:
        if min(paragraphs, size, values) < 2:
            raise VariorumError("ParagraphLookup", expected="2 or more paragraphs, ids in each, and values",
                                found=f"paragraphs {paragraphs}, size {size}, values {values}",
                                do="Choose others.")  # fmt: skip
        self.paragraphs, self.size, self.values, self.rows = paragraphs, size, values, rows

    @property
    def facts(self) -> dict[str, Any]:
        length = self.size * self.paragraphs
        return {"vocab": 1 + self.values + 2 * self.paragraphs, "classes": self.values, "length": length}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        others = self.paragraphs - 1
        keys = torch.rand(size, 2 * self.paragraphs, generator=generator).argsort(dim=1)[:, :others]
        values = torch.randint(self.values, (size, others), generator=generator)
        asked = torch.randint(others, (size, 1), generator=generator)
        keys = torch.cat([keys.gather(1, asked), keys], dim=1) + 1 + self.values
        shown = torch.cat([torch.zeros(size, 1, dtype=torch.int64), 1 + values], dim=1)  # the question has no value
        places = torch.rand(size, self.paragraphs, self.size, generator=generator).argsort(dim=2)
        ids = torch.zeros(size, self.paragraphs, self.size, dtype=torch.int64)
        ids.scatter_(2, places[..., :1], keys.unsqueeze(-1)).scatter_(2, places[..., 1:2], shown.unsqueeze(-1))
        return Batch({"inputs": ids.flatten(1)}, values.gather(1, asked)[:, 0])
