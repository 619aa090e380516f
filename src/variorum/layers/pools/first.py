"""The first token of a row, where a class token stands."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Pool, Traits, pool_rows


class FirstToken(Pool):
    """y = x_0. Devlin et al. 2018, arXiv:1810.04805."""

    traits: Traits = Traits()

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return pool_rows(lambda rows: rows[:, 0], layout, x)
