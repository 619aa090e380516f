"""No normalisation, for places where a layer's norm is left out."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Norm, Traits
from variorum.core.traits import POINTWISE


class NoNorm(Norm):
    """y = x."""

    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return x
