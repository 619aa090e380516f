"""A ConvNet for the 2020s. Liu et al. 2022, arXiv:2201.03545.

A ResNet modernised until it has the shape of a Swin Transformer without attention: a 4 x 4 patch stem with a layer
norm, four stages whose blocks are x + scale * MLP(LN(depthwise 7 x 7 convolution(x))), a layer norm and a 2 x 2
convolution with stride 2 between stages, and a mean over the grid, normed, before the classifier. The road from
ResNet-50 to here is ``variorum.systems.convnext_ladder``; ``python -m variorum.systems.convnext`` prints it.

Atto to Nano are sizes that the timm library added below the paper's.
"""

from collections.abc import Sequence

from variorum.core import Embed, Layer, Residual, Spec, entry
from variorum.layers.chain import Link
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.sound_picture import SoundPicture
from variorum.layers.heads.classifier import Classifier
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.mixers.depthwise_conv import DepthwiseConv
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.normed import NormedPool
from variorum.layers.residuals.add import Add
from variorum.layers.residuals.layer_scale import LayerScale
from variorum.layers.residuals.stochastic_depth import StochasticDepth
from variorum.models.blocks.branch import Branch
from variorum.models.pyramid import Pyramid

_NORM = LayerNorm.spec(eps=1e-6)
_PARTS: tuple[Spec[Link], ...] = (DepthwiseConv.spec(kernel=7), _NORM, MLP.spec())


def stem(patch: int) -> Spec[Embed]:
    """Patches of so many pixels, normed."""
    return Patches.spec(patch=patch, norm=_NORM)


STEM = stem(4)


@entry(
    "convnext",
    sizes={
        "convnext-atto": {"dims": (40, 80, 160, 320), "depths": (2, 2, 6, 2)},
        "convnext-femto": {"dims": (48, 96, 192, 384), "depths": (2, 2, 6, 2)},
        "convnext-pico": {"dims": (64, 128, 256, 512), "depths": (2, 2, 6, 2)},
        "convnext-nano": {"dims": (80, 160, 320, 640), "depths": (2, 2, 8, 2)},
        "convnext-t": {"dims": (96, 192, 384, 768), "depths": (3, 3, 9, 3), "drop": 0.1},
        "convnext-s": {"dims": (96, 192, 384, 768), "depths": (3, 3, 27, 3), "drop": 0.4},
        "convnext-b": {"dims": (128, 256, 512, 1024), "depths": (3, 3, 27, 3), "drop": 0.5},
        "convnext-l": {"dims": (192, 384, 768, 1536), "depths": (3, 3, 27, 3), "drop": 0.5},
        "convnext-xl": {"dims": (256, 512, 1024, 2048), "depths": (3, 3, 27, 3), "drop": 0.5},
    },
    # Two stages and squares of 2 x 2: images of 4 x 4 pixels still leave one token. The paper's start of 1e-6 is for
    # 300 epochs; blocks that learn for minutes must count from the first step (digits, 300 steps: 97.8 against 95.8).
    fits={
        data: [{"dims": dims, "depths": depths, "embed": embed, "scale": 1.0} for dims, depths in sizes]
        for data, embed, sizes in (
            ("images", stem(2), [((32, 64), (2, 2)), ((64, 128), (2, 4)), ((96, 192), (2, 4)), ((16, 32), (1, 1))]),
            ("sounds", SoundPicture.spec(embed=stem(4)), [((32, 64), (1, 2)), ((48, 96), (2, 4)), ((16, 32), (1, 1))]),
        )
    },
)
def convnext(
    *,
    dims: Sequence[int],
    depths: Sequence[int],
    embed: Spec[Embed] = STEM,
    drop: float = 0.0,
    scale: float = 1e-6,
) -> Spec[Pyramid]:
    """Stages of ``depths`` blocks, ``dims`` wide; rows skip block i with probability drop * i / (blocks - 1)."""
    join: Spec[Residual] = LayerScale.spec(inner=Add.spec(), init=scale)
    last = max(sum(depths) - 1, 1)
    joins = [StochasticDepth.spec(inner=join, drop=drop * i / last) if drop else join for i in range(sum(depths))]
    blocks: list[Spec[Layer]] = [Branch.spec(parts=_PARTS, residual=residual) for residual in joins]
    ends = [sum(depths[: stage + 1]) for stage in range(len(depths))]
    return Pyramid.spec(
        dims=dims,
        embed=embed,
        stages=[blocks[end - depth : end] for depth, end in zip(depths, ends, strict=True)],
        merges=[ConvMerge.spec(norm=_NORM)] * (len(depths) - 1),
        norm=NoNorm.spec(),
        head=Classifier.spec(pool=NormedPool.spec(norm=_NORM)),
    )


if __name__ == "__main__":
    from variorum.systems.convnext_table import table

    print(table())
