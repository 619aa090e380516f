"""Tokens by convolution and pooling instead of patches. Hassani et al. 2021, arXiv:2104.05704."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from variorum.core import Embed, Layout, Position, Spec, Traits, VariorumError
from variorum.layers.grids import from_image
from variorum.layers.positions.none import NoPosition


class ConvTokens(Embed):
    """``layers`` times MaxPool(3, 2, 1)(ReLU(conv(image))), each cell one token, then positions and dropout.

    Hassani et al. 2021, arXiv:2104.05704 (CCT). image (batch, channels, height, width) -> (batch, H'*W', dim) with a
    grid; the convolutions have no bias. Each divides a side by its ``stride``, then by 2, rounding up.
    kernel: odd.    hidden: channels between convolutions.
    Any image size if positions allow it; ``height`` and ``width`` are those of the training images.
    """

    reads = "images"
    traits: Traits = Traits(ragged=False)
    examples = ({"kernel": 3, "layers": 2}, {"kernel": 7, "stride": 2})

    def __init__(
        self,
        dim: int,
        channels: int,
        height: int,
        width: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        layers: int = 1,
        hidden: int = 64,
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise VariorumError("ConvTokens kernel", expected="an odd width", found=str(kernel), do="Choose another.")
        widths = [channels, *[hidden] * (layers - 1), dim]
        pairs = pairwise(widths)
        convs = [nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False) for a, b in pairs]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight)
        self.convs = nn.ModuleList(convs)
        shrink = (2 * stride) ** layers
        self.tokens = -(-height // shrink) * -(-width // shrink)
        self.position = position.build(dim=dim, length=self.tokens)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout]:
        for conv in self.convs:
            inputs = F.max_pool2d(conv(inputs).relu(), 3, 2, 1)
        x, layout = from_image(inputs)
        return self.dropout(self.position(x, layout)), layout
