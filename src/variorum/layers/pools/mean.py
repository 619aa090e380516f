"""The mean of a row's tokens."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Pool, Traits, pool_rows


class MeanPool(Pool):
    """y = (1/n) sum_t x_t."""

    traits: Traits = Traits()

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return pool_rows(lambda rows: rows.mean(dim=1), layout, x)
