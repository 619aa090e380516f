"""A normed branch that a condition scales, shifts and gates, closed at the start. Peebles & Xie 2022."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Memory, Norm, Residual, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.conditioning import Modulation
from variorum.layers.norms.layernorm import LayerNorm


class AdaLNZero(Residual):
    """y = x + gate * f(norm(x) * (1 + scale) + shift), with [shift, scale, gate] = W silu(c) + b, W = b = 0 at first.

    Peebles & Xie 2022, arXiv:2212.09748 (adaLN-Zero). c is the sum of the memory's tokens of the row. The norm is
    usually ``LayerNorm(affine=False)``.
    """

    traits: Traits = POINTWISE.but(memory=True, alone=False)
    examples = ({"norm": LayerNorm.spec(affine=False)},)

    def __init__(self, dim: int, *, norm: Spec[Norm]) -> None:
        super().__init__()
        self.norm = norm.build(dim=dim)
        self.modulation = Modulation(dim, 3)

    def forward(
        self,
        x: Float[Tensor, "*tokens dim"],
        branch: Callable[[Tensor], Tensor],
        layout: Layout | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "*tokens dim"]:
        shift, scale, gate = self.modulation.told(memory, layout, "AdaLNZero")
        return x + gate * branch(self.norm(x) * (1 + scale) + shift)
