"""How a model comes to its parameters: by gradient descent on the task unless a system says otherwise."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from variorum.core import Part, Registered, Spec, VariorumError
from variorum.data.task import Task
from variorum.train.distributed import Distributed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Budget:
    """How long a training may last; the first limit reached ends it. None: no limit of this kind."""

    seconds: float | None = None
    steps: int | None = None


@dataclass
class Run:
    """What surrounds a training: its budget, seed, folder for checkpoints, and who is told of progress.

    report: called with a dict such as ``{"step": 10, "loss": 2.3, "seconds": 1.2}``; never more often than once a step.
    What it raises ends the training.     save: seconds between two checkpoints.     distributed: train on several
    processes of this machine; None: in this one. Only recipes of gradient descent can, others raise VariorumError.
    """

    budget: Budget
    seed: int = 0
    folder: Path | None = None
    report: Callable[[dict[str, Any]], None] = field(default=lambda event: None)
    save: float = 60.0
    distributed: Distributed | None = None


class Recipe(Registered, abstract=True):
    """Makes a trained model of a Spec and a task."""

    kind: ClassVar[str] = "recipe"
    keeps_spec: ClassVar[bool] = False
    """Is the trained model the spec itself, filled with the task's facts, and nothing around it?"""
    distributes: ClassVar[bool] = False
    """Can it train on several processes (``Run.distributed``)?"""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Facts that a task must tell for this recipe."""
    searched: ClassVar["Mapping[str, BaseDistribution]"] = {}
    """What is worth trying out: the paths of arguments in the recipe's Spec, and the values a search may give them."""

    def __init_subclass__(cls, *, abstract: bool = False, **rest: Any) -> None:
        super().__init_subclass__(abstract=abstract, **rest)
        if "train" in vars(cls) and not cls.distributes:
            # No recipe can forget it, and train alone what was to be trained by several.
            cls.train = _alone(cls.train)  # type: ignore[assignment, method-assign]

    @abstractmethod
    def train(self, spec: Spec[Any], task: Task, run: Run) -> Part:
        """Fill the spec with the task's facts, build it, train it within the budget, and return it in eval mode."""


def _alone(train: Callable[[Any, Spec[Any], Task, Run], Part]) -> Callable[[Any, Spec[Any], Task, Run], Part]:
    """The training, which refuses several processes."""

    @wraps(train)
    def refusing(self: Recipe, spec: Spec[Any], task: Task, run: Run) -> Part:
        if run.distributed is not None:
            raise VariorumError(type(self).__name__, expected="one process", found=str(run.distributed),
                                do="Only gradient descent runs on several: leave out distributed.")  # fmt: skip
        return train(self, spec, task, run)

    return refusing
