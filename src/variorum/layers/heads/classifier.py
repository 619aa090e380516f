"""Pool a row, then score its classes."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Pool, Spec, Traits
from variorum.layers.pools.mean import MeanPool


class Classifier(Head):
    """logits = W pool(x) + b: (*tokens, dim) -> (rows, classes)."""

    writes = "class"
    traits: Traits = Traits()

    def __init__(self, dim: int, classes: int, *, pool: Spec[Pool] = MeanPool.spec()) -> None:
        super().__init__()
        self.pool = pool.build(dim=dim)
        self.linear = nn.Linear(dim, classes)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows classes"]:
        return self.linear(self.pool(x, layout))
