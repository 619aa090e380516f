"""FlatFormer: point clouds in groups of equal size. Liu et al. 2023, arXiv:2301.08739.

The points of a laser scan are gathered in pillars of a map, most of which are empty; the others are the tokens. What
differs from window attention on them (SST): tokens are sorted by window and then cut into groups of equally many, so
that no group is filled up and all are one batch. Windows are gone through along x, then moved by half a window, then
along y, then moved again, so that groups change from layer to layer. Layers are post-norm; sines of a pillar's place
are added to queries and keys in each. Tokens go back to their cells, and a small head finds centres on the map.

The paper's sizes are for Waymo: 468 x 468 pillars of 0.32 m, and a larger head (a 2-D network and CenterPoint's) than
``CentreMap``, which tells centres only.
"""

from variorum.core import Layer, Mixer, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.pillars import Pillars
from variorum.layers.groupings.equal import Axis, EqualGroups
from variorum.layers.groupings.grouping import Grouping
from variorum.layers.groupings.windows import WindowGroups
from variorum.layers.heads.centre_map import CentreMap
from variorum.layers.mixers.grouped_attention import GroupedAttention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.positions.places import PlaceSinusoid
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

WAYMO = {"channels": 5, "height": 468, "width": 468, "classes": 3}
"""What the published size is built for."""
ALTERNATING = ((Axis.X, False), (Axis.X, True), (Axis.Y, False), (Axis.Y, True))
"""Axis of the sorting, and whether windows are moved, of the four layers of a block."""


@entry("flatformer", sizes={"flatformer": {"dim": 128, "blocks": 2, "heads": 8}})
def flatformer(
    *,
    dim: int,
    blocks: int,
    heads: int,
    group: int = 69,
    window: int = 9,
    layers: tuple[tuple[Axis, bool], ...] = ALTERNATING,
) -> Spec[Stack]:
    """``blocks`` times the four layers."""
    groupings: list[Spec[Grouping]] = [
        EqualGroups.spec(size=group, window=window, axis=axis, shift=window // 2 if moved else 0)
        for axis, moved in layers
    ]
    return on_pillars(dim, heads, groupings * blocks)


def window_attention(*, dim: int, blocks: int, heads: int, window: int = 9) -> Spec[Stack]:
    """What it is compared with: the same layers, attention within windows of equal shape (Fan et al. 2021)."""
    groupings: list[Spec[Grouping]] = [WindowGroups.spec(window=window, shift=shift) for shift in (0, window // 2)]
    return on_pillars(dim, heads, groupings * 2 * blocks)


def on_pillars(dim: int, heads: int, groupings: list[Spec[Grouping]]) -> Spec[Stack]:
    """A detector with one layer for each grouping."""

    def layer(grouping: Spec[Grouping]) -> Spec[Layer]:
        mixer: Spec[Mixer] = GroupedAttention.spec(heads=heads, grouping=grouping, position=PlaceSinusoid.spec())
        return Block.spec(mixer=mixer, channels=MLP.spec(hidden=2 * dim), residual=PostNorm.spec())

    return Stack.spec(dim=dim, embed=Pillars.spec(), blocks=[layer(grouping) for grouping in groupings],
                      norm=NoNorm.spec(), head=CentreMap.spec())  # fmt: skip
