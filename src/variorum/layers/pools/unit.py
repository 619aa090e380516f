"""A pooled vector brought to length 1, so that a dot product is a cosine. Reimers & Gurevych 2019, arXiv:1908.10084."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Pool, Spec, Traits
from variorum.layers.pools.mean import MeanPool


class UnitPool(Pool):
    """y = p / max(|p|, 1e-12), p = pool(x). Reimers & Gurevych 2019, arXiv:1908.10084, with the mean."""

    traits: Traits = Traits()

    def __init__(self, dim: int, *, pool: Spec[Pool] = MeanPool.spec()) -> None:
        super().__init__()
        self.pool = pool.build(dim=dim)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return F.normalize(self.pool(x, layout), dim=-1)
