"""The largest of a row's tokens, number by number. Qi et al. 2016, arXiv:1612.00593."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Pool, Traits, pool_rows


class MaxPool(Pool):
    """y = max_t x_t for each number of a token: it does not depend on the order of the tokens.

    Qi et al. 2016, arXiv:1612.00593, section 4.2.
    """

    traits: Traits = Traits()

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return pool_rows(lambda rows: rows.amax(dim=1), layout, x)
