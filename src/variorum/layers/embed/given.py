"""Tokens that are given as they are."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Embed, Layout, Traits
from variorum.core.traits import POINTWISE


class Given(Embed):
    """y = x: (*tokens, dim) -> (*tokens, dim), for a tower on top of another's tokens."""

    reads = "features"
    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(
        self, inputs: Float[Tensor, "*tokens dim"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        return inputs, layout
