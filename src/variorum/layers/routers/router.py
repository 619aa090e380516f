"""What a router is: it looks at a token and names experts."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from variorum.core import Part


class Routes(NamedTuple):
    """The experts of each token and how much their answers count.

    experts: (*any, k) int64, all different.     weights: (*any, k), like the tokens in type.
    """

    experts: Tensor
    weights: Tensor


class Router(Part, abstract=True):
    """Chooses experts for each token; built with ``dim`` and the number of ``experts``."""

    kind: ClassVar[str] = "router"

    @abstractmethod
    def forward(self, x: Tensor) -> Routes:
        """``x`` (*any, dim) -> the experts of each token and their weights."""
