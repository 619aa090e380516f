"""Stochastic depth: in training, rows skip the branch at random. Huang et al. 2016, arXiv:1603.09382."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Memory, Norm, Residual, Spec, Traits, VariorumError
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.prenorm import PreNorm


class StochasticDepth(Residual):
    """In training the branch of a row is 0 with probability ``drop``, else divided by 1 - drop; ``inner`` joins it.

    Huang et al. 2016, arXiv:1603.09382, row by row.
    """

    examples = ({"inner": PreNorm.spec(), "drop": 0.5, "norm": LayerNorm.spec()},)

    def __init__(self, dim: int, *, norm: Spec[Norm], inner: Spec[Residual], drop: float) -> None:
        super().__init__()
        if not 0 <= drop < 1:
            raise VariorumError(
                "StochasticDepth drop", expected="a probability below 1", found=str(drop), do="Lower it."
            )
        self.inner = inner.build(dim=dim, norm=norm)
        self.drop = drop

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
        if not self.training or self.drop == 0:
            return self.inner.join(x, branch, layout, memory)
        rows = len(layout.lengths) if layout is not None and layout.packed else x.shape[0]
        keep = (torch.rand(rows, device=x.device) >= self.drop).to(x.dtype) / (1 - self.drop)
        keep = (
            keep[layout.row_of, None] if layout is not None and layout.packed else keep.view(-1, *[1] * (x.dim() - 1))
        )
        return self.inner.join(x, lambda y: branch(y) * keep, layout, memory)
