"""Questions about a picture of shapes. After Antol et al. 2015, arXiv:1505.00468 (VQA), on made pictures."""

from enum import StrEnum
from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.shape_pictures import COLOURS, SHAPES, draw_shapes, words
from variorum.data.task import Batch


class Question(StrEnum):
    """Which shape has this colour? Does the picture show this colour and shape? Does one colour come before another,
    as one reads? One is recognition, one compares a text with a picture, one needs a relation.
    """

    SHAPE = "shape"
    SHOWN = "shown"
    BEFORE = "before"


class ShapeQuestions(GeneratedClasses):
    """The answer to a question of one kind about a picture, as a class; the metric is accuracy. Made, not found.

    inputs: ``source``, the pictures (batch, 3, side, side), and ``target``, the question, two words (batch, 2): a
    colour and itself again, a colour and a shape, or two colours. count: shapes in a picture.
    """

    reads = "pictures and questions"
    examples = tuple({"question": question, "rows": 16} for question in Question)

    def __init__(self, *, question: Question = Question.SHAPE, count: int = 2, rows: int = 512) -> None:
        if rows < 1 or count < 2:
            raise VariorumError("ShapeQuestions", expected="a row, and two shapes or more",
                                found=f"rows {rows}, count {count}", do="Choose others.")  # fmt: skip
        self.question, self.count, self.rows = Question(question), count, rows
        self.labels: tuple[str, ...] = SHAPES if self.question is Question.SHAPE else ("no", "yes")

    @property
    def facts(self) -> dict[str, Any]:
        picture = {"channels": 3, "height": 16, "width": 16}
        return {"vocab": words(), "classes": len(self.labels), **picture}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        drawn = draw_shapes(generator, size, count=self.count)
        pair = torch.rand(size, self.count, generator=generator).argsort(dim=1)[:, :2]
        shape, colour, _ = drawn.picked(pair[:, 0])
        lie = torch.randint(2, (size,), generator=generator)
        other = (shape + 1 + torch.randint(len(SHAPES) - 1, (size,), generator=generator)) % len(SHAPES)
        if self.question is Question.SHAPE:
            second, answer = colour, shape
        elif self.question is Question.SHOWN:
            second, answer = len(COLOURS) + torch.where(lie == 1, other, shape), 1 - lie
        else:
            second, answer = drawn.picked(pair[:, 1])[1], (pair[:, 0] < pair[:, 1]).long()
        return Batch({"source": drawn.pictures, "target": torch.stack([colour, second], dim=1)}, answer)
