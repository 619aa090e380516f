"""D-Former: A U-shaped Dilated Transformer for 3D Medical Image Segmentation. Wu et al. 2022, arXiv:2201.00462.

A U of Transformer layers over volumes. In each stage layers of local scope, which attend within groups of neighbouring
patches, take turns with layers of global scope, which attend within dilated groups of as many patches spread over the
whole volume: the reach of global attention at the cost of windows. Positions are told by a depthwise convolution of
3 x 3 x 3, added after the first layer of each stage. Eight neighbours merge into one patch of twice the width between
stages, patches expand on the way up, skips are concatenated and mapped back to one width. Answers are given, and judged
by Dice and cross-entropy, at the three finest stages.

The authors' code differs: it adds the positions before the first layer, keeps the input of a stage as its skip where
here, as in other networks of this shape, it is the output, and reads the two coarser answers before the skip is joined.
Its list of intervals (8, 4, 2, 1) only fills volumes up; the interval is there too the side over the group's. The
parameters are the same.
"""

from collections.abc import Sequence

from variorum.core import Expand, Layer, Merge, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.volume_patches import VolumePatches
from variorum.layers.expands.patch import PatchExpand
from variorum.layers.heads.segmenter import Segmenter
from variorum.layers.merges.patch import PatchMerge
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.depthwise_conv import DepthwiseConv
from variorum.layers.mixers.partitioned import Partitioned
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.partitions.dilated import DilatedPartition
from variorum.layers.partitions.local import LocalPartition
from variorum.layers.partitions.partition import Partition
from variorum.models.blocks.block import Block
from variorum.models.blocks.branch import Branch
from variorum.models.deeply_supervised import DeeplySupervised
from variorum.models.u_shape import UShape

_NORM = LayerNorm.spec()
POSITION: Spec[Layer] = Branch.spec(parts=[DepthwiseConv.spec(kernel=3, axes=3)])
"""x + convolution(x): dynamic position encoding."""
_MERGE: Spec[Merge] = PatchMerge.spec(axes=3)
_EXPAND: Spec[Expand] = PatchExpand.spec(patch=(2, 2, 2))


@entry("d-former", sizes={"d-former": {"dim": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24)}})
def d_former(
    *,
    dim: int,
    depths: Sequence[int],
    heads: Sequence[int],
    group: tuple[int, int, int] = (2, 8, 8),
    patch: tuple[int, int, int] = (2, 4, 4),
    supervised: int = 3,
    scopes: Sequence[Spec[Partition]] = (),
) -> Spec[DeeplySupervised]:
    """Stages of ``depths`` layers, ``dim`` wide and twice as wide in each next one; answers at ``supervised`` of them.

    scopes: how the layers of a stage group patches, in turn; local and dilated groups of the size ``group`` unless
    given.
    """
    turns = list(scopes) or [LocalPartition.spec(size=group), DilatedPartition.spec(size=group)]
    stages = [stage(depth, head, turns) for depth, head in zip(depths, heads, strict=True)]
    answer = Segmenter.spec(expand=PatchExpand.spec(patch=patch), bias=False)
    steps = len(depths) - 1
    u = UShape.spec(
        dims=[dim << s for s in range(len(depths))],
        embed=VolumePatches.spec(patch=patch, norm=_NORM),
        stages=stages,
        merges=[_MERGE] * steps,
        expands=[_EXPAND] * steps,
        ups=stages[:-1],
        turn=_NORM,
        head=answer,
    )
    return DeeplySupervised.spec(model=u, heads=[answer] * (supervised - 1))


def stage(depth: int, heads: int, scopes: Sequence[Spec[Partition]]) -> list[Spec[Layer]]:
    """Layers whose scopes take turns, and the position encoding after the first of them."""
    layers = [layer(heads, scopes[i % len(scopes)]) for i in range(depth)]
    return [layers[0], POSITION, *layers[1:]]


def layer(heads: int, partition: Spec[Partition]) -> Spec[Layer]:
    """A pre-norm Transformer layer that attends within groups."""
    scope = Partitioned.spec(mixer=Attention.spec(heads=heads), partition=partition)
    return Block.spec(mixer=scope, channels=MLP.spec())
