"""Convolution over the grid. LeCun et al. 1989; in residual blocks: He et al. 2015, arXiv:1512.03385."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Traits, VariorumError
from variorum.layers.grids import from_image, to_image


class GridConv(Mixer):
    """y_p = b + sum_{|d| <= kernel // 2} W_d x_{p + d} over the grid's cells p, zeros beyond its edge.

    He et al. 2015, arXiv:1512.03385, with 3 x 3. kernel: odd.
    """

    traits: Traits = Traits(grid=2, ragged=False)
    examples = ({"kernel": 3}, {"kernel": 5, "bias": False})

    def __init__(self, dim: int, *, kernel: int = 3, bias: bool = True) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise VariorumError("GridConv kernel", expected="an odd width", found=str(kernel), do="Choose another.")
        self.conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "batch n dim"]:
        return from_image(self.conv(to_image(x, layout)))[0]
