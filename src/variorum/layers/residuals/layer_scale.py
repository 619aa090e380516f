"""LayerScale: a learned factor for each channel of a branch. Touvron et al. 2021, arXiv:2103.17239."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Norm, Residual, Spec, Traits
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.add import Add
from variorum.layers.residuals.prenorm import PreNorm


class LayerScale(Residual):
    """The branch becomes weight * f(x), channel by channel, and ``inner`` joins it; ``init`` is each weight's start.

    Touvron et al. 2021, arXiv:2103.17239: a small start makes a deep model begin as the identity.
    """

    examples = (
        {"inner": PreNorm.spec(), "norm": LayerNorm.spec()},
        {"inner": Add.spec(), "norm": LayerNorm.spec(), "init": 0.1},
    )

    def __init__(self, dim: int, *, norm: Spec[Norm], inner: Spec[Residual], init: float = 1e-6) -> None:
        super().__init__()
        self.inner = inner.build(dim=dim, norm=norm)
        self.weight = nn.Parameter(torch.full((dim,), init))

    @property
    def traits(self) -> Traits:
        """Those of the inner residual."""
        return self.inner.traits

    def forward(
        self,
        x: Float[Tensor, "*tokens dim"],
        branch: Callable[[Tensor], Tensor],
        layout: Layout | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "*tokens dim"]:
        return self.inner.join(x, lambda y: branch(y) * self.weight, layout, memory)
