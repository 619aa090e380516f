"""Down-sampling by a strided convolution over the grid. Liu et al. 2022, arXiv:2201.03545."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Merge, Norm, Spec, Traits
from variorum.layers.grids import from_image, to_image
from variorum.layers.norms.layernorm import LayerNorm


class ConvMerge(Merge):
    """y = conv(norm(x)), kernel = stride = ``stride``: (batch, H*W, source) -> (batch, H/s*W/s, dim).

    Liu et al. 2022, arXiv:2201.03545. A rest of less than a whole patch at the right and lower edge is left out.
    """

    traits: Traits = Traits(grid=2, ragged=False)

    def __init__(
        self, source: int, dim: int, *, stride: int = 2, norm: Spec[Norm] = LayerNorm.spec(eps=1e-6)
    ) -> None:
        super().__init__()
        self.norm = norm.build(dim=source)
        self.conv = nn.Conv2d(source, dim, kernel_size=stride, stride=stride)

    def forward(
        self, x: Float[Tensor, "batch n source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        return from_image(self.conv(to_image(self.norm(x), layout)))
