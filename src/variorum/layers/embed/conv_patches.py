"""Patches by convolutions, which may overlap. Wang et al. 2021, arXiv:2106.13797; Xiao et al. 2021."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits, VariorumError
from variorum.layers.channels.activation import Activation
from variorum.layers.grids import from_image
from variorum.layers.positions.none import NoPosition


class ConvPatches(Embed):
    """conv_k(act(... conv_1(image))), each cell one token, then positions and dropout.

    One convolution wider than its stride makes overlapping patches (Wang et al. 2021, arXiv:2106.13797); several make a
    convolutional stem (Xiao et al. 2021, arXiv:2106.14881), each twice as wide as the one before. image (batch,
    channels, height, width) -> (batch, H*W, dim) with the grid (H, W). A kernel as wide as its stride, or narrower,
    leaves out a rest at the right and lower edge; a wider one is odd, sees zeros beyond the edge and rounds H up.
    Any image size if positions allow it; ``height``, ``width``: of the training images. An image of which no cell is
    left raises VariorumError.
    """

    reads = "images"
    traits: Traits = Traits(ragged=False)
    examples = ({"kernels": (7,), "strides": (4,)}, {"kernels": (3, 2, 3), "strides": (2, 2, 1)})

    def __init__(
        self,
        dim: int,
        channels: int,
        height: int,
        width: int,
        *,
        kernels: Sequence[int] = (7,),
        strides: Sequence[int] = (4,),
        activation: Activation = Activation.RELU,
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers = list(zip(kernels, strides, strict=False))
        if not layers or len(kernels) != len(strides) or any(k > s and k % 2 == 0 for k, s in layers):
            raise VariorumError("ConvPatches", expected="a stride for each kernel, and odd kernels wider than theirs",
                                found=f"kernels {tuple(kernels)}, strides {tuple(strides)}",
                                do="Choose others.")  # fmt: skip
        widths = pairwise([channels, *(dim >> (len(layers) - 1 - i) for i in range(len(layers)))])
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride, kernel // 2 if kernel > stride else 0)
            for (a, b), (kernel, stride) in zip(widths, layers, strict=True)
        )
        self.layers = layers
        self.activation = activation.function
        self.tokens = max(0, self._cells(height)) * max(0, self._cells(width))
        self.position = position.build(dim=dim, length=self.tokens)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout]:
        height, width = inputs.shape[-2:]
        if min(self._cells(height), self._cells(width)) < 1:
            raise VariorumError("image", expected="one of which the convolutions leave a cell",
                                found=f"{height} x {width} pixels",
                                do="Use larger images or smaller strides.")  # fmt: skip
        for i, conv in enumerate(self.convs):
            inputs = conv(self.activation(inputs) if i else inputs)
        x, layout = from_image(inputs)
        return self.dropout(self.position(x, layout)), layout

    def _cells(self, side: int) -> int:
        """How many cells the convolutions leave of a side."""
        for kernel, stride in self.layers:
            side = -(-side // stride) if kernel > stride else (side - kernel) // stride + 1
        return side
