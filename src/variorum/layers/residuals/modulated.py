"""A norm whose gain and bias a condition gives, before a branch, and no way around it. Perez et al. 2017."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Memory, Norm, Residual, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.conditioning import Modulation
from variorum.layers.norms.layernorm import LayerNorm


class Modulated(Residual):
    """y = f(norm(x) * (1 + scale) + shift), with [shift, scale] = W silu(c) + b, W = b = 0 at first.

    Perez et al. 2017, arXiv:1709.07871 (FiLM); as the last norm of a model: Peebles & Xie 2022, arXiv:2212.09748. c is
    the sum of the memory's tokens of the row.
    """

    traits: Traits = POINTWISE.but(memory=True, alone=False)
    examples = ({"norm": LayerNorm.spec(affine=False)},)

    def __init__(self, dim: int, *, norm: Spec[Norm]) -> None:
        super().__init__()
        self.norm = norm.build(dim=dim)
        self.modulation = Modulation(dim, 2)

    def forward(
        self,
        x: Float[Tensor, "*tokens dim"],
        branch: Callable[[Tensor], Tensor],
        layout: Layout | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "*tokens dim"]:
        shift, scale = self.modulation.told(memory, layout, "Modulated")
        return branch(self.norm(x) * (1 + scale) + shift)
