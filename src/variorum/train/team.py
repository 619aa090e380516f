"""Who takes part in a training: one process alone, or several that do one training together."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from torch import Tensor, nn

from variorum.data.task import Batch
from variorum.train.checkpoint import module_tensors
from variorum.train.fabrics import fabric
from variorum.train.interrupt import deferred
from variorum.train.learner import Drain, Learner, Together
from variorum.train.precision import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Team(ABC):
    """The processes of a training, as one of them sees it. All of them must make the same calls in the same order.

    rank: the number of this one.    size: how many they are.
    """

    rank: int
    size: int

    @abstractmethod
    def fabric(self, precision: Precision) -> "Fabric":
        """The device of this process, and arithmetic of this precision on it."""

    @abstractmethod
    def hold(self, learner: Learner, drain: Drain) -> Together | None:
        """Take over the learner, before an optimiser is made of its parameters: what makes a step's gradient one."""

    @abstractmethod
    def draws(self, step: int) -> str:
        """What the random numbers of a step are named after: processes draw apart."""

    @abstractmethod
    def share(self, batch: Batch) -> Batch:
        """This process's rows of a batch."""

    @abstractmethod
    def agree(self, *numbers: float) -> tuple[float, ...]:
        """What the first process says."""

    @abstractmethod
    def mean(self, values: Tensor) -> float:
        """The mean of all numbers that the processes hold, each some (n,), maybe none."""

    @abstractmethod
    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each process may hold a part."""

    @abstractmethod
    def part(self, tensor: Tensor, like: Tensor) -> Tensor:
        """The part of a whole tensor that this process holds, if it holds a part of ``like``, which has its shape."""

    @abstractmethod
    def gathered(self) -> AbstractContextManager[None]:
        """While it lasts the learner's model can be called by itself: parameters are whole, buffers alike."""

    @abstractmethod
    def interruptions(self) -> AbstractContextManager[Callable[[], bool]]:
        """The function given says whether the user wants the training to stop."""

    @property
    def first(self) -> bool:
        """Is this the process that reports and writes?"""
        return self.rank == 0

    def tensors(self, module: nn.Module) -> dict[str, Tensor]:
        """Parameters and persistent buffers, whole; empty but for the first process."""
        found = {name: self.whole(tensor) for name, tensor in module_tensors(module).items()}
        return found if self.first else {}


class Alone(Team):
    """One process."""

    rank, size = 0, 1

    def fabric(self, precision: Precision) -> "Fabric":
        return fabric(precision)

    def hold(self, learner: Learner, drain: Drain) -> Together | None:
        return None

    def draws(self, step: int) -> str:
        return str(step)

    def share(self, batch: Batch) -> Batch:
        return batch

    def agree(self, *numbers: float) -> tuple[float, ...]:
        return numbers

    def mean(self, values: Tensor) -> float:
        return float(values.mean())

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor

    def part(self, tensor: Tensor, like: Tensor) -> Tensor:
        return tensor

    def gathered(self) -> AbstractContextManager[None]:
        return nullcontext()

    def interruptions(self) -> AbstractContextManager[Callable[[], bool]]:
        return deferred()


ALONE = Alone()
