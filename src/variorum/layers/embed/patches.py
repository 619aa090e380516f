"""Patch embedding. Dosovitskiy et al. 2020, arXiv:2010.11929."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Norm, Position, Spec, Traits, VariorumError
from variorum.layers.grids import from_image
from variorum.layers.norms.identity import NoNorm
from variorum.layers.positions.none import NoPosition


class Patches(Embed):
    """Each ``patch`` x ``patch`` square of the image, linearly projected and normed, then positions and dropout.

    Dosovitskiy et al. 2020, arXiv:2010.11929. image (batch, channels, height, width) -> (batch, H*W, dim) with the grid
    (H, W) of patches; a rest of less than a patch at the right and lower edge is left out, an image smaller than a
    patch raises VariorumError. Any image size if positions allow it; ``height``, ``width``: of the training images.
    """

    reads = "images"
    traits: Traits = Traits(ragged=False)
    examples = ({"patch": 4},)

    def __init__(
        self,
        dim: int,
        channels: int,
        height: int,
        width: int,
        *,
        patch: int = 16,
        norm: Spec[Norm] = NoNorm.spec(),
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch, bias=bias)
        self.norm = norm.build(dim=dim)
        self.tokens = (height // patch) * (width // patch)
        self.position = position.build(dim=dim, length=self.tokens)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout]:
        if min(inputs.shape[-2:]) < self.patch:
            raise VariorumError("image", expected=f"at least {self.patch} x {self.patch} pixels, one patch",
                                found=f"{inputs.shape[-2]} x {inputs.shape[-1]}",
                                do="Use larger images or smaller patches.")  # fmt: skip
        x, layout = from_image(self.project(inputs))
        return self.dropout(self.position(self.norm(x), layout)), layout
