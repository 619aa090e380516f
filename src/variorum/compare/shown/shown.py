"""What shows held-out rows of one kind of data, found by the preprocessing that made them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from variorum.core import Registered, registered
from variorum.data.preprocess import Preprocess
from variorum.data.task import Batch, Task


@dataclass(frozen=True)
class Judged:
    """How a model answered a row.

    priority: the rows with the highest are shown.     says: truth and answer in the user's own terms, as plain JSON.
    pair: truth and answer as the number of a class, or as a value; None where a row has neither.
    """

    priority: float
    says: dict[str, Any] = field(default_factory=dict)
    pair: tuple[float, float] | None = None


@dataclass(frozen=True)
class Seen:
    """A batch of the test split and what the model answered.

    reader: the task's preprocessing, built.     first: where in the split its first row is.
    """

    task: Task
    reader: Any
    batch: Batch
    outputs: Any
    first: int


class Shown(Registered, abstract=True):
    """Shows rows that ``shows`` has made into tensors.     title: of those that are shown."""

    kind: ClassVar[str] = "shown"
    shows: ClassVar[type[Preprocess]]
    title: ClassVar[str]

    @abstractmethod
    def judged(self, seen: Seen) -> Sequence[Judged]:
        """One for each row of the batch, in order."""

    @abstractmethod
    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        """A row of the batch as plain JSON: image, sound (data URIs), text, features, lines, points, name."""


def find_shown(preprocess: type[Preprocess]) -> Shown | None:
    """What shows the rows of this preprocessing; None if nobody has said how."""
    found = (cls for cls in registered(Shown).values() if issubclass(cls, Shown))
    return next((cls() for cls in found if cls.shows is preprocess), None)
