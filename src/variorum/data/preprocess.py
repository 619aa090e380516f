"""What stands between a user's rows and a model: raw values in, tensors out; answers in, the user's own terms out."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from variorum.core import Registered

if TYPE_CHECKING:
    import pandas as pd


class Preprocess(Registered, abstract=True):
    """Everything about the data that a model file must remember, as plain constructor arguments, so that it is a Spec.

    reads: kind of data: text, images, table.
    """

    kind: ClassVar[str] = "preprocess"
    reads: ClassVar[str]

    @abstractmethod
    def open(self, rows: Any) -> Any:
        """What the user gives (a path, a frame, arrays, a list) as rows in memory; VariorumError for anything else."""

    @abstractmethod
    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        """The keyword arguments of a model's forward for opened rows, up to ``size`` rows at a time, in order."""

    @property
    @abstractmethod
    def axes(self) -> dict[str, dict[int, str]]:
        """For each of those arguments that is a tensor: the dimensions whose size is free, and what they count."""

    @abstractmethod
    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        """Arguments of some made-up rows, the same each time; ``length`` is that of rows that may be of any."""

    @abstractmethod
    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        """One line a row: what the model's outputs, one for each batch, say in the user's own terms."""
