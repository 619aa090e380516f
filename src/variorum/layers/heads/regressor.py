"""Pool a row, then estimate a value."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Pool, Spec, Traits
from variorum.layers.pools.mean import MeanPool


class Regressor(Head):
    """value = w . pool(x) + b: (*tokens, dim) -> (rows,)."""

    writes = "value"
    traits: Traits = Traits()

    def __init__(self, dim: int, *, pool: Spec[Pool] = MeanPool.spec()) -> None:
        super().__init__()
        self.pool = pool.build(dim=dim)
        self.linear = nn.Linear(dim, 1)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows"]:
        return self.linear(self.pool(x, layout))[..., 0]
