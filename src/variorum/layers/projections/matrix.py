"""The plain projection: one matrix."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Projection, Traits
from variorum.core.traits import POINTWISE


class Matrix(Projection):
    """y = W x (+ b)."""

    traits: Traits = POINTWISE

    def __init__(self, source: int, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(source, dim, bias=bias)

    def forward(self, x: Float[Tensor, "*any source"]) -> Float[Tensor, "*any dim"]:
        return self.linear(x)
