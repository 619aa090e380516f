"""Patch merging: four neighbours become one token. Liu et al. 2021, arXiv:2103.14030."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Merge, Norm, Spec, Traits, VariorumError
from variorum.layers.norms.layernorm import LayerNorm


class PatchMerge(Merge):
    """y = W norm([x_00; x_10; x_01; x_11]) over each 2 x 2 square: (batch, H*W, source) -> (batch, H/2*W/2, dim).

    Liu et al. 2021, arXiv:2103.14030. An odd side is filled up with zeros.
    """

    traits: Traits = Traits(grid=2, ragged=False)

    def __init__(self, source: int, dim: int, *, norm: Spec[Norm] = LayerNorm.spec()) -> None:
        super().__init__()
        self.norm = norm.build(dim=4 * source)
        self.reduce = nn.Linear(4 * source, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch n source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        if layout is None or layout.grid is None or len(layout.grid) != 2 or layout.packed:
            raise VariorumError(
                "layout", expected="equal rows with a grid (H, W)", found=str(layout), do="Pass Layout(grid=(H, W))."
            )
        height, width = layout.grid
        image = F.pad(x.unflatten(1, (height, width)), (0, 0, 0, width % 2, 0, height % 2))
        square = torch.cat([image[:, row::2, column::2] for column in range(2) for row in range(2)], dim=-1)
        return self.reduce(self.norm(square.flatten(1, 2))), Layout(grid=(square.shape[1], square.shape[2]))
