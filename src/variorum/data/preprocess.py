"""What stands between a user's rows and a model: raw values in, tensors out; answers in, the user's own terms out."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

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
    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        """The keyword arguments of a model's forward for the user's rows, up to ``size`` rows at a time, in order."""

    @abstractmethod
    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        """One line a row: what the model's outputs, one for each batch, say in the user's own terms."""
