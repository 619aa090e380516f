"""No positions: rows are sets, or the mixer tells positions itself."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Position, Traits
from variorum.core.traits import POINTWISE


class NoPosition(Position):
    """y = x."""

    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        return x
