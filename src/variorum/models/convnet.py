"""A small convolutional network: the plain baseline of images. LeCun et al. 1998; batch norm: Ioffe & Szegedy 2015."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Input, Skeleton, Traits


class ConvNet(Skeleton):
    """Stages of [3x3 convolution, batch norm, ReLU] x 2, then the mean over pixels, then a linear layer.

    (batch, channels, height, width) -> (batch, classes). The first stage has ``width`` channels; each later one
    halves height and width (rounding up) and doubles the channels.
    LeCun et al. 1998, "Gradient-based learning applied to document recognition"; Ioffe & Szegedy 2015,
    arXiv:1502.03167.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="images")})
    traits: Traits = Traits(batchwise=True)
    examples = ({"channels": 1, "classes": 3, "width": 4, "stages": 2},)

    def __init__(self, channels: int, classes: int, *, width: int = 32, stages: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage in range(stages):
            wide = width << stage
            layers += [*_layer(channels, wide, 1 if stage == 0 else 2), *_layer(wide, wide, 1)]
            channels = wide
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, classes)

    def forward(self, inputs: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        return self.linear(self.layers(inputs).mean(dim=(2, 3)))


def _layer(channels: int, wide: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, wide, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.BatchNorm2d(wide), nn.ReLU()]
