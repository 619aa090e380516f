"""What a model is trained and judged on: batches, facts, an objective and a score."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from variorum.core import Objective, Registered, Spec
from variorum.data.preprocess import Preprocess

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class Batch:
    """One batch. ``inputs`` are the keyword arguments of the model's forward (tensors and Layouts); uneven rows are
    packed, never padded.  targets: what the objective and the score compare the answers with.
    """

    inputs: dict[str, Any]
    targets: Any


class Task(Registered, abstract=True):
    """Data with a question. Training batches are a pure function of (seed, step), so a resumed run goes on exactly.

    reads: kind of data: text, images, sounds, table, series; systems say in ``fits`` which they can take.
    synthetic: made by a generator rather than found in the world; reports say so.
    """

    kind: ClassVar[str] = "task"
    reads: ClassVar[str]
    synthetic: bool = False
    metric: str
    """Name of the score, e.g. accuracy."""
    higher_is_better: bool = True
    preprocess: Spec[Preprocess] | None = None
    """What a model file must remember to read a user's rows as this task does."""
    labels: tuple[Any, ...] = ()
    """The classes in the user's own terms."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that was detected, repaired or left out when the data were read."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the data tell about a model's open parameters: classes, channels, vocab, columns, ..."""

    @property
    @abstractmethod
    def objective(self) -> Spec[Objective]:
        """The training objective."""

    @abstractmethod
    def batch(self, step: int, size: int, seed: int) -> Batch:
        """The training batch of a step: ``size`` rows drawn by (seed, step) alone."""

    @abstractmethod
    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        """All held-out rows of a split, once, in batches of up to ``size``; the last may be smaller."""

    @abstractmethod
    def scores(self, outputs: Any, targets: Any) -> Tensor:
        """The score of each held-out target of a batch, (targets,); its mean over the split is the metric."""
