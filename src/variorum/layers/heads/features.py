"""The tokens themselves as the answer."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE


class Features(Head):
    """y = x: (*tokens, dim) -> (*tokens, dim), for an encoder whose tokens others attend to."""

    writes = "features"
    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        return x
