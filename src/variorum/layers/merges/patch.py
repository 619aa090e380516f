"""Patch merging: four neighbours become one token. Liu et al. 2021, arXiv:2103.14030."""

from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Merge, Norm, Spec, Traits
from variorum.layers.grids import sides
from variorum.layers.norms.layernorm import LayerNorm


class PatchMerge(Merge):
    """y = W norm([x_00; x_10; x_01; x_11]) over each 2 x 2 square: (batch, H*W, source) -> (batch, H/2*W/2, dim).

    Liu et al. 2021, arXiv:2103.14030. An odd side is filled up with zeros. axes: of the grid; with 3, eight cells of a
    volume become one (Wu et al. 2022, arXiv:2201.00462).
    """

    examples = ({}, {"axes": 3})

    def __init__(
        self, source: int, dim: int, *, axes: Literal[1, 2, 3] = 2, norm: Spec[Norm] = LayerNorm.spec()
    ) -> None:
        super().__init__()
        self.axes = axes
        self.norm = norm.build(dim=2**axes * source)
        self.reduce = nn.Linear(2**axes * source, dim, bias=False)

    @property
    def traits(self) -> Traits:
        """It needs a grid."""
        return Traits(grid=self.axes, ragged=False)

    def forward(
        self, x: Float[Tensor, "batch n source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        grid = sides(layout, self.axes)
        cells = F.pad(x.unflatten(1, grid), (0, 0, *(n for side in reversed(grid) for n in (0, side % 2))))
        corners = product((0, 1), repeat=self.axes)  # the first axis runs fastest, as in the authors' code
        square = [cells[(slice(None), *(slice(start, None, 2) for start in corner[::-1]))] for corner in corners]
        merged = torch.cat(square, dim=-1)
        return self.reduce(self.norm(merged.flatten(1, -2))), Layout(grid=tuple(merged.shape[1:-1]))
