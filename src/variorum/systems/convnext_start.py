"""ResNet-50, where the road to ConvNeXt-T starts. He et al. 2015, arXiv:1512.03385."""

from collections.abc import Sequence
from typing import Any

from variorum.core import Merge, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.nonlinearity import Nonlinearity
from variorum.layers.embed.resnet_stem import ResNetStem
from variorum.layers.heads.classifier import Classifier
from variorum.layers.merges.bottleneck import Bottleneck
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.merges.residual import ResidualMerge
from variorum.layers.mixers.grid_conv import GridConv
from variorum.layers.norms.batchnorm import BatchNorm
from variorum.layers.norms.identity import NoNorm
from variorum.layers.residuals.add import Add
from variorum.models.blocks.branch import Branch
from variorum.models.pyramid import Pyramid

BN, RELU = BatchNorm.spec(), Nonlinearity.spec(activation=Activation.RELU)
SAME = GridConv.spec(kernel=3, bias=False)


def resnet(width: int = 64, depths: Sequence[int] = (3, 4, 6, 3)) -> Spec[Pyramid]:
    """ResNet-50: each stage starts with a bottleneck that has a projection beside it; the first one only widens."""

    def parts(conv: Spec[Any]) -> list[Spec[Any]]:
        return [Bottleneck.spec(ratio=0.25, parts=[BN, RELU, conv, BN, RELU], bias=False), BN]

    def start(conv: Spec[Any], stride: int) -> Spec[Merge]:
        return ResidualMerge.spec(parts=parts(conv), shortcut=[strided(1, stride), BN], residual=join)

    join = Add.spec(activation=Activation.RELU)
    block = Branch.spec(parts=parts(SAME), residual=join)
    return Pyramid.spec(
        dims=[width, *(width * 4 << stage for stage in range(len(depths)))],
        embed=ResNetStem.spec(),
        stages=[[], *([block] * (depth - 1) for depth in depths)],
        merges=[start(SAME, 1), *[start(strided(3, 2), 2)] * (len(depths) - 1)],
        norm=NoNorm.spec(),
        head=Classifier.spec(),
    )


def strided(kernel: int, stride: int) -> Spec[Merge]:
    """A convolution that moves ``stride`` cells at a time, without norm or bias."""
    return ConvMerge.spec(kernel=kernel, stride=stride, norm=NoNorm.spec(), bias=False)
