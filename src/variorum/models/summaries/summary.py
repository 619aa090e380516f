"""What a summary of a row is."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from variorum.core import Layout, Skeleton


class Summary(Skeleton, abstract=True):
    """Rows of any length -> ``count`` numbers each, by a rule that no gradient has to find.

    reads: the kind of rows.
    """

    reads: ClassVar[str]
    count: int

    @abstractmethod
    def learn(self, rows: Sequence[Tensor], seed: int) -> None:
        """Take from the training rows, each (n, channels), what the rule needs of them; many rules need nothing."""

    @abstractmethod
    def forward(self, inputs: Tensor, layout: Layout | None = None) -> Tensor:
        """Rows, equal or packed -> (rows, count)."""
