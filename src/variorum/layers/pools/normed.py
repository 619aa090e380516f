"""A pooled vector that is normed. Liu et al. 2022, arXiv:2201.03545."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Norm, Pool, Spec, Traits
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.mean import MeanPool


class NormedPool(Pool):
    """y = norm(pool(x)). Liu et al. 2022, arXiv:2201.03545: a layer norm after the mean over the grid."""

    traits: Traits = Traits()

    def __init__(
        self, dim: int, *, pool: Spec[Pool] = MeanPool.spec(), norm: Spec[Norm] = LayerNorm.spec(eps=1e-6)
    ) -> None:
        super().__init__()
        self.pool = pool.build(dim=dim)
        self.norm = norm.build(dim=dim)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return self.norm(self.pool(x, layout))
