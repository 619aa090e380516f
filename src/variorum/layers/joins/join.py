"""What a join is: two rows of the same tokens become one."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from variorum.core import Part


class Join(Part, abstract=True):
    """Joins tokens with others of the same places, kept from before: (*tokens, dim) twice -> (*tokens, dim)."""

    kind: ClassVar[str] = "join"

    @abstractmethod
    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``x`` and ``skip`` (*any, dim) -> (*any, dim)."""
