"""Tasks with enough held out to choose by that most of it can be trained on once the choice is made."""

import copy
from abc import abstractmethod
from typing import Self

from variorum.data.draw import Parts
from variorum.data.task import Task


class Divided(Task, abstract=True):
    """A task that can be divided anew once a configuration is chosen."""

    @abstractmethod
    def once_chosen(self) -> Self:
        """The task for those that are trained again once their configuration is chosen by the valid split: most of what
        was held out for that is then trained on, where there is enough of it, and the rest is what a training is judged
        by. The test split stays, and so does what was learned from the training rows (scales, vocabularies, seasons).
        """


class DividedRows(Divided, abstract=True):
    """A task that knows by their numbers which of its rows train, choose and test.

    parts: these numbers.     seed: what the division depends on.
    """

    parts: Parts
    seed: int

    def once_chosen(self) -> Self:
        task = copy.copy(self)
        task.parts = self.parts.once_chosen(self.seed)
        return task
