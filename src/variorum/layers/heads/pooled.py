"""One vector a row as the answer."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Head, Layout, Pool, Spec, Traits
from variorum.layers.pools.mean import MeanPool


class Pooled(Head):
    """y = pool(x): (*tokens, dim) -> (rows, dim), to be compared, searched or classified by others."""

    writes = "vector"
    traits: Traits = Traits()

    def __init__(self, dim: int, *, pool: Spec[Pool] = MeanPool.spec()) -> None:
        super().__init__()
        self.pool = pool.build(dim=dim)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return self.pool(x, layout)
