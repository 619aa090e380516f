"""PVT v2: Improved Baselines with Pyramid Vision Transformer. Wang et al. 2021, arXiv:2106.13797.

A pyramid of four stages whose attention is affordable on fine grids. What differs from the first PVT: patches overlap
(a convolution of 7 x 7 with stride 4, then 3 x 3 with stride 2, each followed by a norm); no position embedding, for a
depthwise convolution of 3 x 3 in each feed-forward network tells positions by its zeros; and spatial-reduction
attention, whose keys and values are one token of each R x R square, or, in the linear variant (Li), the grid averaged
down to 7 x 7. Where R is 1, attention is plain. Each stage ends with a norm.

The linear variant has a ReLU before the depthwise convolution, as the authors' code; the paper does not draw it.
"""

from collections.abc import Sequence

from variorum.core import Embed, Layer, Merge, Mixer, Residual, Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.nonlinearity import Nonlinearity
from variorum.layers.embed.conv_patches import ConvPatches
from variorum.layers.embed.normed import NormedEmbed
from variorum.layers.embed.sound_picture import SoundPicture
from variorum.layers.heads.classifier import Classifier
from variorum.layers.merges.adaptive_pool import AdaptivePoolMerge
from variorum.layers.merges.chained import ChainedMerge
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.conv_ffn import ConvFFN
from variorum.layers.mixers.spatial_reduction_attention import SpatialReductionAttention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.stochastic_depth import StochasticDepth
from variorum.models.blocks.block import Block
from variorum.models.pyramid import Pyramid

_NORM, _FINE = LayerNorm.spec(), LayerNorm.spec(eps=1e-6)
_WIDE = (64, 128, 320, 512)


def patches(kernel: int, stride: int) -> Spec[Embed]:
    """Overlapping patches, normed."""
    return NormedEmbed.spec(embed=ConvPatches.spec(kernels=(kernel,), strides=(stride,)), norm=_NORM)


PATCHES = patches(7, 4)


@entry(
    "pvt-v2",
    sizes={
        "pvt-v2-b0": {"dims": (32, 64, 160, 256), "depths": (2, 2, 2, 2)},
        "pvt-v2-b1": {"dims": _WIDE, "depths": (2, 2, 2, 2)},
        "pvt-v2-b2": {"dims": _WIDE, "depths": (3, 4, 6, 3)},
        "pvt-v2-b2-li": {"dims": _WIDE, "depths": (3, 4, 6, 3), "linear": True},
        "pvt-v2-b3": {"dims": _WIDE, "depths": (3, 4, 18, 3), "drop": 0.3},
        "pvt-v2-b4": {"dims": _WIDE, "depths": (3, 8, 27, 3), "drop": 0.3},
        "pvt-v2-b5": {"dims": _WIDE, "depths": (3, 6, 40, 3), "ratios": (4, 4, 4, 4), "drop": 0.3},
    },
    # Two stages from a grid of half the image's sides: images of 4 x 4 pixels still leave a square to reduce.
    fits={
        data: [
            {"dims": dims, "depths": depths, "heads": (1, 2), "ratios": (4, 4), "reductions": reductions,
             "embed": embed}
            for dims, depths in (((32, 64), (1, 1)), ((32, 64), (2, 2)), ((64, 128), (2, 2)), ((16, 32), (1, 1)))
        ]
        for data, reductions, embed in (
            ("images", (2, 1), patches(3, 2)),
            ("sounds", (4, 2), SoundPicture.spec(embed=patches(7, 4))),
        )
    },
)  # fmt: skip
def pvt_v2(
    *,
    dims: Sequence[int],
    depths: Sequence[int],
    heads: Sequence[int] = (1, 2, 5, 8),
    ratios: Sequence[int] = (8, 8, 4, 4),
    reductions: Sequence[int] = (8, 4, 2, 1),
    linear: bool = False,
    embed: Spec[Embed] = PATCHES,
    drop: float = 0.1,
) -> Spec[Pyramid]:
    """Stages of ``depths`` blocks, ``dims`` wide; rows skip block i with probability drop * i / (blocks - 1)."""
    last = max(sum(depths) - 1, 1)
    stages, first = [], 0
    for dim, depth, head, ratio, reduction in zip(dims, depths, heads, ratios, reductions, strict=True):
        attention = pooled(head) if linear else reduced(head, reduction)
        before = Activation.RELU if linear else None
        channels = ConvFFN.spec(hidden=ratio * dim, before=before)
        joins = [join(drop * i / last) for i in range(first, first + depth)]
        stages.append([block(attention, channels, residual) for residual in joins])
        first += depth
    overlap: Spec[Merge] = ChainedMerge.spec(parts=[ConvMerge.spec(kernel=3, norm=NoNorm.spec()), _NORM])
    return Pyramid.spec(dims=dims, embed=embed, stages=stages, merges=[overlap] * (len(dims) - 1), stage_norm=_FINE,
                        norm=NoNorm.spec(), head=Classifier.spec())  # fmt: skip


def reduced(heads: int, reduction: int) -> Spec[Mixer]:
    """Attention over one key of each square of ``reduction`` x ``reduction`` tokens."""
    if reduction == 1:
        return Attention.spec(heads=heads)
    reduce = ChainedMerge.spec(parts=[ConvMerge.spec(stride=reduction, norm=NoNorm.spec()), _NORM])
    return SpatialReductionAttention.spec(reduce=reduce, attention=Attention.spec(heads=heads))


def pooled(heads: int, side: int = 7) -> Spec[Mixer]:
    """Attention over ``side`` x ``side`` keys, however many the tokens."""
    point = ConvMerge.spec(kernel=1, stride=1, norm=NoNorm.spec())
    reduce = ChainedMerge.spec(parts=[AdaptivePoolMerge.spec(side=side), point, _NORM, Nonlinearity.spec()])
    return SpatialReductionAttention.spec(reduce=reduce, attention=Attention.spec(heads=heads))


def block(attention: Spec[Mixer], channels: Spec[ConvFFN], residual: Spec[Residual]) -> Spec[Layer]:
    """Attention and the convolutional feed-forward network, each normed first."""
    return Block.spec(mixer=attention, channels=channels, norm=_FINE, residual=residual)


def join(drop: float) -> Spec[Residual]:
    """A normed branch that rows skip with probability ``drop``."""
    return StochasticDepth.spec(inner=PreNorm.spec(), drop=drop) if drop else PreNorm.spec()
