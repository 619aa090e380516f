"""Normalise, transform, add. Xiong et al. 2020, arXiv:2002.04745."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Norm, Residual, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.norms.layernorm import LayerNorm


class PreNorm(Residual):
    """y = x + dropout(f(norm(x))). Xiong et al. 2020, arXiv:2002.04745."""

    traits: Traits = POINTWISE
    examples = ({"norm": LayerNorm.spec()},)

    def __init__(self, dim: int, *, norm: Spec[Norm], dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = norm.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], branch: Callable[[Tensor], Tensor], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return x + self.dropout(branch(self.norm(x)))
