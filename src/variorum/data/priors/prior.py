"""Tasks whose rows are whole data sets drawn from a prior. Müller et al. 2021, arXiv:2112.10510."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from variorum.core import Objective, Spec
from variorum.data.task import Batch, Split, Task
from variorum.objectives.cross_entropy import NO_TARGET, CrossEntropy

HELD = 64
"""Data sets of a shape among the held-out ones."""


class Prior(Task, abstract=True):
    """Each batch is ``size`` data sets of as many rows; the first of them are labelled, the others are asked for.

    Müller et al. 2021, arXiv:2112.10510: the cross-entropy of asked rows, averaged over data sets, is the expected
    negative log-likelihood of the posterior predictive distribution. inputs (size, n, columns + 1), the label last and
    NaN where it is asked for; targets (size, n), NO_TARGET where the label is known. Made, not found.
    """

    reads = "labelled rows"
    synthetic = True
    metric = "accuracy"
    held_batches = 8

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec(ignore=NO_TARGET)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        return self._ask(torch.Generator().manual_seed(seed * 1_000_003 + step + 2 * self.held_batches), size)

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        first = ("valid", "test").index(split) * self.held_batches
        for i in range(self.held_batches):  # drawn alike whatever the size asked for
            drawn = self._ask(torch.Generator().manual_seed(first + i), HELD)
            for at in range(0, HELD, size):
                yield Batch({"inputs": drawn.inputs["inputs"][at : at + size]}, drawn.targets[at : at + size])

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        asked = targets != NO_TARGET
        return (outputs.argmax(-1)[asked] == targets[asked]).float()

    @abstractmethod
    def draw(self, generator: Generator, size: int) -> tuple[Tensor, Tensor, int]:
        """Data sets: x (size, n, columns) float32, classes (size, n) int64, and how many rows are labelled."""

    def _ask(self, generator: Generator, size: int) -> Batch:
        x, y, labelled = self.draw(generator, size)
        label, target = y.to(x.dtype), y.clone()
        label[:, labelled:] = torch.nan
        target[:, :labelled] = NO_TARGET
        return Batch({"inputs": torch.cat([x, label.unsqueeze(-1)], dim=-1)}, target)


def uniform(generator: Generator, low: float, high: float) -> float:
    """A number drawn evenly between two."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def integer(generator: Generator, low: int, high: int) -> int:
    """An integer drawn evenly from low ... high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def standard(x: Tensor) -> Tensor:
    """Each column of each data set (size, n, columns) to mean 0 and deviation 1, far outliers drawn in."""
    x = (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True).clamp(min=1e-6)
    return x.clamp(-10, 10)


def skewed(generator: Generator, low: int, high: int, size: int) -> Tensor:
    """Integers (size,) from low ... high, the logarithm of each drawn evenly: few is likelier than many."""
    drawn = torch.rand(size, generator=generator) * math.log((high + 1) / low)
    return (low * drawn.exp()).long().clamp(low, high)


def classes(value: Tensor, count: Tensor, generator: Generator) -> Tensor:
    """Cut values (size, n) at random ones of themselves into at most count (size,) classes, in random order."""
    size, n = value.shape
    most = int(count.max())
    picks = torch.rand(size, n, generator=generator).argsort(dim=1)[:, : most - 1]
    beyond = torch.arange(most) >= count.unsqueeze(1)
    cuts = value.gather(1, picks).masked_fill(beyond[:, 1 : picks.shape[1] + 1], torch.inf).sort(dim=1).values
    ordered = torch.searchsorted(cuts, value.contiguous(), right=True)
    names = torch.rand(size, most, generator=generator).masked_fill(beyond, 2).argsort(dim=1)
    return names.gather(1, ordered)
