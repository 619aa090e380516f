"""A baseline: a plain model and how it learns."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from variorum.core import Registered, Spec, registered
from variorum.data.task import Task
from variorum.train.recipe import Recipe


class Baseline(Registered, abstract=True):
    """A plain model that stands beside the systems in every comparison of the data that it ``reads``.

    name: in tables and folders.     title: in sentences.     reads: kinds of data (see :class:`Task`).
    """

    kind: ClassVar[str] = "baseline"
    name: ClassVar[str]
    title: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]

    @abstractmethod
    def pair(self, task: Task) -> tuple[Spec[Any] | Sequence[Spec[Any]], Spec[Recipe]]:
        """What to build for the task, in one size or in several with the one to begin with first, and how it learns."""


def baselines(task: Task) -> list[type[Baseline]]:
    """All baselines that read the task's kind of data."""
    found = [cls for cls in registered(Baseline).values() if issubclass(cls, Baseline)]
    return sorted((cls for cls in found if task.reads in cls.reads), key=lambda cls: cls.name)
