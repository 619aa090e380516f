"""Down-sampling by a strided convolution over the grid. Liu et al. 2022, arXiv:2201.03545; He et al. 2015."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Merge, Norm, Spec, Traits, VariorumError
from variorum.layers.grids import from_image, to_image
from variorum.layers.norms.layernorm import LayerNorm


class ConvMerge(Merge):
    """y = conv(norm(x)), a convolution of ``kernel`` with ``stride``: (batch, H*W, source) -> (batch, H'*W', dim).

    kernel: as wide as the stride unless given; squares then do not overlap, H' = floor(H / stride), and a rest at the
    right and lower edge is left out (Liu et al. 2022, arXiv:2201.03545). A wider kernel is odd, sees zeros beyond the
    edge, and H' = ceil(H / stride) (He et al. 2015, arXiv:1512.03385); so it is with a kernel of 1.
    """

    traits: Traits = Traits(grid=2, ragged=False)
    examples = ({}, {"kernel": 3, "bias": False}, {"kernel": 1})

    def __init__(
        self,
        source: int,
        dim: int,
        *,
        stride: int = 2,
        kernel: int | None = None,
        norm: Spec[Norm] = LayerNorm.spec(eps=1e-6),
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kernel = kernel or stride
        if self.kernel > stride and self.kernel % 2 == 0:
            raise VariorumError("ConvMerge kernel", expected=f"at most the stride, {stride}, or odd",
                                found=str(kernel), do="Choose another.")  # fmt: skip
        self.padding = self.kernel // 2 if self.kernel > stride else 0
        self.norm = norm.build(dim=source)
        self.conv = nn.Conv2d(source, dim, self.kernel, stride, self.padding, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch n source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        image = to_image(self.norm(x), layout)
        if min(image.shape[-2:]) + 2 * self.padding < self.kernel:
            raise VariorumError("ConvMerge", expected=f"a grid of at least {self.kernel} x {self.kernel}",
                                found=f"{image.shape[-2]} x {image.shape[-1]}",
                                do="Use larger inputs or fewer stages.")  # fmt: skip
        return from_image(self.conv(image))
