"""Averages over as many boxes as are asked for, however large the grid. Wang et al. 2021, arXiv:2106.13797."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Merge, Traits, VariorumError
from variorum.layers.grids import from_image, to_image


class AdaptivePoolMerge(Merge):
    """y_ij = mean of x over rows floor(iH/s) to ceil((i+1)H/s) - 1 and columns alike.

    (batch, H*W, dim) -> (batch, s*s, dim), s is ``side``; boxes overlap where s does not divide a side, and repeat
    cells where the grid is smaller. PVT v2's linear attention (Wang et al. 2021, arXiv:2106.13797) has 7.
    """

    traits: Traits = Traits(grid=2, ragged=False, bounded=True)
    examples = ({"side": 2},)

    def __init__(self, dim: int, *, side: int = 7) -> None:
        super().__init__()
        if side < 1:
            raise VariorumError(
                "AdaptivePoolMerge side", expected="at least 1", found=str(side), do="Choose a larger one."
            )
        self.dim, self.side = dim, side

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        return from_image(F.adaptive_avg_pool2d(to_image(x, layout), self.side))
