"""What a fusion is: several branches in, the same branches out, each knowing something of the others."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from variorum.core import Layout, Part


class Fusion(Part, abstract=True):
    """Exchanges between branches, built for their widths ``dims``: tokens of each branch -> tokens of each branch."""

    kind: ClassVar[str] = "fusion"

    @abstractmethod
    def forward(self, xs: Sequence[Tensor], layouts: Sequence[Layout | None]) -> list[Tensor]:
        """``xs[b]`` (*tokens_b, dims[b]) -> as many of the same shapes."""
