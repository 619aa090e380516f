"""In-context regression: a row is a data set, and each value is told from those before it. Garg et al. 2022."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from variorum.core import Objective, Spec
from variorum.data.generated import of_split, of_step
from variorum.data.task import Batch, Split, Task
from variorum.objectives.squared_error import SquaredError


class InContextRegression(Task, abstract=True):
    """x_1, y_1, ..., x_k, y_k with y_i = f(x_i) of a function drawn anew for each row; tell y_i at x_i.

    Garg et al. 2022, arXiv:2208.01066. inputs (size, 2 points, dims): x_i at position 2 i - 1, (y_i, 0, ..., 0) at 2 i,
    i from 1. targets (size, 2 points): y_i at x_i's position, NaN at y_i's. x is drawn from N(0, 1).

    A class gives dims, points, rows (held out) and grows: if above 0, training begins with a quarter of the dims (the
    others are 0) and of the points, and every ``grows`` steps there is one more of the one and two more of the other
    until all are there, as in the paper's curriculum.
    """

    reads = "prompts"
    synthetic = True
    metric = "squared error"
    higher_is_better = False
    dims: int
    points: int
    rows: int
    grows: int

    @property
    def facts(self) -> dict[str, Any]:
        return {"features": self.dims, "variables": 1, "length": 2 * self.points}

    @property
    def objective(self) -> Spec[Objective]:
        return SquaredError.spec()

    @abstractmethod
    def values(self, x: Tensor, generator: Generator) -> Tensor:
        """Points (size, k, dims) -> values (size, k) of one function for each row."""

    def batch(self, step: int, size: int, seed: int) -> Batch:
        generator = of_step(step, seed)
        if not self.grows:
            return self._make(generator, size, self.dims, self.points)
        more = step // self.grows
        dims, points = -(-self.dims // 4) + more, -(-self.points // 4) + 2 * more
        return self._make(generator, size, min(dims, self.dims), min(points, self.points))

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        generator = of_split(split)
        made = self._make(generator, self.rows, self.dims, self.points)
        parts = made.inputs["inputs"].split(size), made.targets.split(size)
        return (Batch({"inputs": x}, y) for x, y in zip(*parts, strict=True))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        real = ~targets.isnan()
        return (outputs.squeeze(-1)[real] - targets[real]).square()

    def _make(self, generator: Generator, size: int, dims: int, points: int) -> Batch:
        x = torch.randn(size, points, self.dims, generator=generator)
        x[..., dims:] = 0
        y = self.values(x, generator)
        tokens = torch.zeros(size, points, 2, self.dims)
        tokens[:, :, 0], tokens[:, :, 1, 0] = x, y
        targets = torch.stack([y, torch.full_like(y, torch.nan)], dim=-1)
        return Batch({"inputs": tokens.flatten(1, 2)}, targets.flatten(1))
