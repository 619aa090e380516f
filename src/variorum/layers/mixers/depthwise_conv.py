"""Depthwise convolution over the grid: each channel alone. Chollet 2016, arXiv:1610.02357; Liu et al. 2022."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Traits, VariorumError
from variorum.layers.grids import from_grid, to_grid


class DepthwiseConv(Mixer):
    """y_p[c] = b[c] + sum_{|d| <= kernel // 2} w[c, d] x_{p + d}[c] over the grid's cells p, zeros beyond its edge.

    Chollet 2016, arXiv:1610.02357; 7 x 7 in Liu et al. 2022, arXiv:2201.03545. Added to its input it tells tokens where
    they are, by the zeros (Chu et al. 2021, arXiv:2102.10882). kernel: odd.    axes: of the grid; 3 for volumes.
    """

    examples = ({"kernel": 3}, {"kernel": 7, "bias": False}, {"kernel": 3, "axes": 3})

    def __init__(self, dim: int, *, kernel: int = 7, axes: Literal[1, 2, 3] = 2, bias: bool = True) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise VariorumError(
                "DepthwiseConv kernel", expected="an odd width", found=str(kernel), do="Choose another."
            )
        self.axes = axes
        make = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.conv = make(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=bias)

    @property
    def traits(self) -> Traits:
        """It needs a grid."""
        return Traits(grid=self.axes, ragged=False)

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "batch n dim"]:
        return from_grid(self.conv(to_grid(x, layout, self.axes)))[0]
