"""The last token of a row, which of a causal model has seen all of it."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Pool, Traits, pool_rows


class LastPool(Pool):
    """y = x_n."""

    traits: Traits = Traits()

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return pool_rows(lambda rows: rows[:, -1], layout, x)
