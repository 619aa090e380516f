"""Down-sampling by a strided depthwise convolution over the grid. Howard et al. 2017, arXiv:1704.04861."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Merge, Traits, VariorumError
from variorum.layers.grids import from_image, to_image


class DepthwiseMerge(Merge):
    """A depthwise convolution at every ``stride``-th cell: (batch, H*W, dim) -> (batch, ceil(H/s)*ceil(W/s), dim).

    Howard et al. 2017, arXiv:1704.04861. kernel: odd; zeros beyond the edge.
    """

    traits: Traits = Traits(grid=2, ragged=False)
    examples = ({"kernel": 3}, {"kernel": 7, "bias": False})

    def __init__(self, dim: int, *, kernel: int = 3, stride: int = 2, bias: bool = True) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise VariorumError(
                "DepthwiseMerge kernel", expected="an odd width", found=str(kernel), do="Choose another."
            )
        self.conv = nn.Conv2d(dim, dim, kernel, stride, kernel // 2, groups=dim, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        return from_image(self.conv(to_image(x, layout)))
