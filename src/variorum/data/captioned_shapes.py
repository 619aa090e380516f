"""Captions and the pictures they tell of, both as tokens of one row. After Liang et al. 2024, arXiv:2411.04996."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.generated import of_split, of_step
from variorum.data.task import Batch, Split, Task
from variorum.objectives.cross_entropy import NO_TARGET, CrossEntropy

SHAPES = ("disc", "square", "cross", "ring")
COLOURS = 4
SIZES = (1.5, 2.4)
WORDS = 2 + len(SHAPES) + COLOURS + len(SIZES)
"""Begin, picture, then the words of shapes, colours and sizes; places (two numbers from 0 to side - 1) follow."""


class CaptionedShapes(Task):
    """Predict the next token of a caption and the picture it tells of, in codes; the metric is the loss of the codes.

    A row is [begin], then shape, colour, size and place across and down of each of ``shapes`` shapes, then [picture]
    and one code for each of ``side`` x ``side`` squares: the colour that lies on top there, or one of the two greys of
    a chequered ground, with ``grain`` the probability that a code is drawn anew. Ids of codes follow those of words;
    ``border`` is the first. Later shapes cover earlier ones. Made, not found.
    """

    reads = "captioned shapes"
    synthetic = True
    metric = "bits of a code"
    higher_is_better = False
    examples = ({"side": 4, "rows": 16},)

    def __init__(self, *, side: int = 8, shapes: int = 2, grain: float = 0.05, rows: int = 256) -> None:
        if side < 4 or shapes < 1 or not 0 <= grain < 1:
            raise VariorumError("CaptionedShapes", expected="a side of 4 at least, a shape, and grain below 1",
                                found=f"side {side}, shapes {shapes}, grain {grain}", do="Choose others.")  # fmt: skip
        self.side, self.shapes, self.grain, self.rows = side, shapes, grain, rows
        self.border = WORDS + side
        self.codes = COLOURS + 2

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.border + self.codes, "length": 5 * self.shapes + 1 + self.side**2}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec(ignore=NO_TARGET)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        return self._asked(self._rows(of_step(step, seed), size))

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = self._rows(of_split(split), self.rows)
        return (self._asked(part) for part in rows.split(size))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        asked = targets >= self.border
        loss = torch.nn.functional.cross_entropy(outputs[asked].float(), targets[asked], reduction="none")
        return loss / torch.log(torch.tensor(2.0))

    def _asked(self, rows: Tensor) -> Batch:
        return Batch({"inputs": rows[:, :-1]}, rows[:, 1:])

    def _rows(self, generator: torch.Generator, size: int) -> Tensor:
        """(size, length + 1) ids."""

        def draw(kinds: int) -> Tensor:
            return torch.randint(kinds, (size, self.shapes), generator=generator)

        shape, colour, scale = draw(len(SHAPES)), draw(COLOURS), draw(len(SIZES))
        across, down = draw(self.side), draw(self.side)
        first = 2 + len(SHAPES)
        said = (2 + shape, first + colour, first + COLOURS + scale, WORDS + across, WORDS + down)
        words = torch.stack(said, dim=2).flatten(1)
        codes = self._paint(shape, colour, torch.tensor(SIZES)[scale], across, down)
        anew = torch.rand(codes.shape, generator=generator) < self.grain
        codes = torch.where(anew, torch.randint(self.codes, codes.shape, generator=generator), codes)
        begin, picture = (torch.full((size, 1), word) for word in (0, 1))
        return torch.cat([begin, words, picture, self.border + codes], dim=1)

    def _paint(self, shape: Tensor, colour: Tensor, scale: Tensor, across: Tensor, down: Tensor) -> Tensor:
        """(size, side * side) codes, row by row."""
        y, x = torch.meshgrid(torch.arange(self.side), torch.arange(self.side), indexing="ij")
        canvas = (COLOURS + (x + y) % 2).flatten().repeat(len(shape), 1)
        for i in range(self.shapes):
            right = (x.flatten() - across[:, i, None]).abs()
            below = (y.flatten() - down[:, i, None]).abs()
            far, reach = (right.square() + below.square()).float().sqrt(), scale[:, i, None]
            inside = torch.stack([
                far <= reach,
                torch.maximum(right, below) <= reach - 0.5,
                (torch.minimum(right, below) == 0) & (torch.maximum(right, below) <= reach),
                (far <= reach) & (far >= reach - 1),
            ])  # fmt: skip
            covered = inside.gather(0, shape[None, :, i, None].expand(1, *canvas.shape)).squeeze(0)
            canvas = torch.where(covered, colour[:, i, None], canvas)
        return canvas
