"""Pictures of shapes, to be told in words. Vinyals et al. 2014, arXiv:1411.4555, for the task."""

from typing import Any

import torch

from variorum.data.generated_sequences import GeneratedSequences
from variorum.data.shape_pictures import SIDE, draw_shapes, words
from variorum.data.task import Batch


class ShapeCaptions(GeneratedSequences):
    """Colour and kind of each shape of a picture, in the order of reading. Made, not found.

    inputs: ``source``, the pictures (batch, 3, side, side), and ``target``, (batch, 2 count) ids that begin with START
    and are told their own next word, the targets. The score is 1 for a caption without a fault.
    """

    reads = "pictures to be told"
    examples = ({"rows": 16},)

    def __init__(self, *, count: int = 2, rows: int = 512) -> None:
        self.count, self.rows, self.start = count, rows, words()

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": words() + 1, "channels": 3, "height": SIDE, "width": SIDE}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        drawn = draw_shapes(generator, size, count=self.count)
        told = drawn.words()
        start = torch.full((size, 1), self.start)
        return Batch({"source": drawn.pictures, "target": torch.cat([start, told[:, :-1]], dim=1)}, told)
