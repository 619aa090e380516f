"""Tasks whose rows are divided by their numbers."""

import copy
from typing import TypeVar

from variorum.data.draw import Parts
from variorum.data.task import Task

T = TypeVar("T", bound="DividedTask")


class DividedTask(Task, abstract=True):
    """A task that knows which of its rows train, choose and test.

    parts: their numbers.     seed: what the division depends on.
    """

    parts: Parts
    seed: int

    def once_chosen(self: T) -> T:
        task = copy.copy(self)
        task.parts = self.parts.once_chosen(self.seed)
        return task
