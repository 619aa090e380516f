"""The stem of a ResNet: tokens by a wide convolution and pooling. He et al. 2015, arXiv:1512.03385."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Norm, Spec, Traits
from variorum.layers.channels.activation import Activation
from variorum.layers.grids import from_image, to_image
from variorum.layers.norms.batchnorm import BatchNorm


class ResNetStem(Embed):
    """MaxPool(3, stride 2)(act(norm(conv(image)))), a convolution of 7 x 7 with stride 2, without bias.

    He et al. 2015, arXiv:1512.03385. image (batch, channels, height, width) -> (batch, H*W, dim) with the grid
    (H, W) = (ceil(height / 4), ceil(width / 4)); zeros beyond the edge. Any image size.
    """

    reads = "images"
    traits: Traits = Traits(ragged=False)

    def __init__(
        self, dim: int, channels: int, *, norm: Spec[Norm] = BatchNorm.spec(), activation: Activation = Activation.RELU
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, dim, 7, stride=2, padding=3, bias=False)
        self.norm = norm.build(dim=dim)
        self.activation = activation.function

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout]:
        x, fine = from_image(self.conv(inputs))
        return from_image(F.max_pool2d(to_image(self.activation(self.norm(x)), fine), 3, stride=2, padding=1))
