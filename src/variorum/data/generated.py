"""Tasks whose rows are made, and the streams of random numbers that they are made of."""

from abc import abstractmethod
from collections.abc import Iterator

from torch import Generator

from variorum.data.task import Batch, Split, Task

_SPLITS: tuple[Split, ...] = ("valid", "test")


def of_step(step: int, seed: int) -> Generator:
    """The random numbers of a training step: those of (seed, step) alone, and never those of a held-out split."""
    return Generator().manual_seed(seed * 1_000_003 + step + len(_SPLITS))


def of_split(split: Split) -> Generator:
    """The random numbers of a held-out split."""
    return Generator().manual_seed(_SPLITS.index(split))


class Generated(Task, abstract=True):
    """Any number of rows for training, drawn anew at every step, and ``rows`` of them in each held-out split."""

    synthetic = True
    rows: int

    @abstractmethod
    def make(self, generator: Generator, size: int) -> Batch:
        """``size`` rows; inputs and targets are tensors with a row each."""

    def batch(self, step: int, size: int, seed: int) -> Batch:
        return self.make(of_step(step, seed), size)

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        made = self.make(of_split(split), self.rows)
        for first in range(0, self.rows, size):
            part = slice(first, first + size)
            yield Batch({name: x[part] for name, x in made.inputs.items()}, made.targets[part])
