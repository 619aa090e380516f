"""Sequence pooling: a learned weighting of the tokens. Hassani et al. 2021, arXiv:2104.05704."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Pool, Traits, pool_rows


class SeqPool(Pool):
    """y = sum_t softmax_t(w^T x_t + b) x_t. Hassani et al. 2021, arXiv:2104.05704."""

    traits: Traits = Traits()

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Linear(dim, 1)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return pool_rows(lambda rows, score: (score.softmax(dim=1) * rows).sum(dim=1), layout, x, self.weight(x))
