"""CrossViT: Cross-Attention Multi-Scale Vision Transformer. Chen et al. 2021, arXiv:2103.14899.

Two ViTs see one image: one narrow with small patches, one wide with large patches, of the image a little smaller. K
times, each runs its own layers; then each class token, brought to the other's width, looks at the other's patches and
goes home. One query a branch makes this fusion linear in the patches. Each class token has a classifier; the logits
are averaged. The sizes marked with a dagger cut patches by three convolutions instead of one.

Sizes are those of the paper's table 1, whose models for images of 224 see, as in its code, 240 pixels in the small
branch and 224 in the large one.
"""

from collections.abc import Sequence

from variorum.core import Embed, Layer, Residual, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.conv_patches import ConvPatches
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.resized import Resized
from variorum.layers.embed.sound_picture import SoundPicture
from variorum.layers.fusions.class_cross import ClassCross
from variorum.layers.heads.classifier import Classifier
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.first import FirstToken
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.add import Add
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.stochastic_depth import StochasticDepth
from variorum.models.blocks.block import Block
from variorum.models.blocks.parallel import Parallel
from variorum.models.branches import Branches

_NORM = LayerNorm.spec(eps=1e-6)
PATCHES: tuple[Spec[Embed], ...] = (Patches.spec(patch=12), Patches.spec(patch=16))
STEMS: tuple[Spec[Embed], ...] = (
    ConvPatches.spec(kernels=(7, 3, 3), strides=(4, 3, 1)),
    ConvPatches.spec(kernels=(7, 3, 3), strides=(4, 2, 2)),
)
_TINY: tuple[Spec[Embed], ...] = (Patches.spec(patch=2), Patches.spec(patch=4))
_HEARD: tuple[Spec[Embed], ...] = tuple(SoundPicture.spec(embed=Patches.spec(patch=patch)) for patch in (8, 16))
_15, _18 = {"dims": (192, 384), "depths": (1, 5), "heads": 6}, {"dims": (224, 448), "depths": (1, 6), "heads": 7}
_9 = {"dims": (128, 256), "depths": (1, 3), "heads": 4}


@entry(
    "crossvit",
    sizes={
        "crossvit-ti": {"dims": (96, 192), "depths": (1, 4), "heads": 3, "ratio": 4},
        "crossvit-s": {"dims": (192, 384), "depths": (1, 4), "heads": 6, "ratio": 4},
        "crossvit-b": {"dims": (384, 768), "depths": (1, 4), "heads": 12, "ratio": 4},
        "crossvit-9": _9,
        "crossvit-15": _15,
        "crossvit-18": _18,
        "crossvit-9-dagger": {**_9, "patches": STEMS},
        "crossvit-15-dagger": {**_15, "patches": STEMS},
        "crossvit-18-dagger": {**_18, "patches": STEMS},
        "crossvit-15-dagger-384": {**_15, "patches": STEMS, "scale": 384 / 408},
        "crossvit-18-dagger-384": {**_18, "patches": STEMS, "scale": 384 / 408},
    },
    fits={
        data: [
            {"dims": dims, "depths": depths, "heads": 2, "ratio": 2, "blocks": blocks, "patches": patches,
             "scale": 1.0, "drop": 0.0} for dims, depths, blocks in sizes
        ]
        for data, patches, sizes in (
            ("images", _TINY, [((32, 64), (1, 2), 1), ((32, 64), (1, 2), 2), ((64, 128), (1, 2), 2),
                               ((16, 32), (1, 1), 1)]),
            ("sounds", _HEARD, [((32, 64), (1, 2), 1), ((48, 96), (1, 2), 2), ((16, 32), (1, 1), 1)]),
        )
    },
)  # fmt: skip
def crossvit(
    *,
    dims: tuple[int, int],
    depths: tuple[int, int],
    heads: int,
    ratio: int = 3,
    blocks: int = 3,
    patches: Sequence[Spec[Embed]] = PATCHES,
    scale: float = 224 / 240,
    drop: float = 0.1,
) -> Spec[Branches]:
    """``blocks`` multi-scale blocks of ``depths`` layers in each branch; the large branch sees ``scale`` of the sides.

    Stochastic depth rises from 0 to ``drop`` from layer to layer.
    """
    longest = max(depths)
    rates = [drop * i / max(blocks * longest - 1, 1) for i in range(blocks * longest)]
    return Branches.spec(
        dims=dims,
        embeds=[tokens(patches[0], 1.0), tokens(patches[1], scale)],
        blocks=[multi_scale(dims, depths, heads, ratio, rates[k * longest :][:longest]) for k in range(blocks)],
        norm=_NORM,
        head=Classifier.spec(pool=FirstToken.spec()),
    )


def tokens(patches: Spec[Embed], scale: float) -> Spec[Embed]:
    """Patches of the image at a scale, a class token before them, learned positions."""
    seen: Spec[Embed] = patches if scale == 1 else Resized.spec(embed=patches, scale=scale)
    return ClassToken.spec(embed=seen, position=LearnedPosition.spec())


def multi_scale(
    dims: tuple[int, int], depths: tuple[int, int], heads: int, ratio: int, rates: Sequence[float]
) -> Spec[Parallel]:
    """Pre-norm layers in each branch, whose rates of stochastic depth are ``rates``, and the fusion."""

    def layer(dim: int, rate: float) -> Spec[Layer]:
        return Block.spec(mixer=Attention.spec(heads=heads), channels=MLP.spec(hidden=ratio * dim), norm=_NORM,
                          residual=dropped(PreNorm.spec(), rate))  # fmt: skip

    branches = [
        [layer(dim, rate) for rate in rates[:depth]] for dim, depth in zip(dims, depths, strict=True)
    ]  # fmt: skip
    fusion = ClassCross.spec(mixer=Attention.spec(heads=heads), norm=_NORM, residual=dropped(Add.spec(), rates[-1]))
    return Parallel.spec(branches=branches, fusion=fusion)


def dropped(inner: Spec[Residual], rate: float) -> Spec[Residual]:
    """The residual, whose branch rows skip with probability ``rate``."""
    return StochasticDepth.spec(inner=inner, drop=rate) if rate else inner
