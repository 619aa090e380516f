"""A norm before the branch and another after the sum, as the official code of CCT has it (Hassani et al. 2021)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Norm, Residual, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.norms.layernorm import LayerNorm


class DoubleNorm(Residual):
    """y = norm_2(x + dropout(f(norm_1(x)))). Official code of Hassani et al. 2021, arXiv:2104.05704."""

    traits: Traits = POINTWISE
    examples = ({"norm": LayerNorm.spec()},)

    def __init__(self, dim: int, *, norm: Spec[Norm], dropout: float = 0.0) -> None:
        super().__init__()
        self.before = norm.build(dim=dim)
        self.after = norm.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], branch: Callable[[Tensor], Tensor], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self.after(x + self.dropout(branch(self.before(x))))
