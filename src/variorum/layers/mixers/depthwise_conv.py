"""Depthwise convolution over the grid: each channel alone. Chollet 2016, arXiv:1610.02357; Liu et al. 2022."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Traits, VariorumError
from variorum.layers.grids import from_image, to_image


class DepthwiseConv(Mixer):
    """y_p[c] = b[c] + sum_{|d| <= kernel // 2} w[c, d] x_{p + d}[c] over the grid's cells p, zeros beyond its edge.

    Chollet 2016, arXiv:1610.02357; 7 x 7 in Liu et al. 2022, arXiv:2201.03545. kernel: odd.
    """

    traits: Traits = Traits(grid=2, ragged=False)
    examples = ({"kernel": 3}, {"kernel": 7, "bias": False})

    def __init__(self, dim: int, *, kernel: int = 7, bias: bool = True) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise VariorumError(
                "DepthwiseConv kernel", expected="an odd width", found=str(kernel), do="Choose another."
            )
        self.conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "batch n dim"]:
        return from_image(self.conv(to_image(x, layout)))[0]
