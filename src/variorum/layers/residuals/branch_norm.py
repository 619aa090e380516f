"""A norm at the end of a branch, before it joins the stream. Shleifer et al. 2021, arXiv:2110.09456."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Memory, Norm, Residual, Spec, Traits
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.prenorm import PreNorm


class BranchNorm(Residual):
    """The branch becomes after(f(x)), and ``inner`` joins it; with PreNorm y = x + after(f(norm(x))).

    Shleifer et al. 2021, arXiv:2110.09456; Samuel et al. 2023, arXiv:2303.09859.
    """

    examples = ({"inner": PreNorm.spec(), "norm": LayerNorm.spec()},)

    def __init__(
        self, dim: int, *, norm: Spec[Norm], inner: Spec[Residual], after: Spec[Norm] = LayerNorm.spec()
    ) -> None:
        super().__init__()
        self.inner = inner.build(dim=dim, norm=norm)
        self.after = after.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the inner residual and the norm."""
        return self.inner.traits.along(self.after.traits)

    def forward(
        self,
        x: Float[Tensor, "*tokens dim"],
        branch: Callable[[Tensor], Tensor],
        layout: Layout | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "*tokens dim"]:
        return self.inner.join(x, lambda y: self.after(branch(y)), layout, memory)
