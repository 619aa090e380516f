"""An Introduction to Transformers. Turner 2023, arXiv:2304.10557.

The body of the note: pre-norm layers Y = X + MHSA(LN(X)), X' = Y + MLP(LN(Y)) over a set of tokens, positions added to
the tokens, and a class token or a mean as the answer's source. The same body serves every kind of data; what makes
tokens of it is the embed. The note transcribed token by token is ``variorum.explain.formal.turner``.
"""

from variorum.core import Embed, Head, Pool, Skeleton, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.columns import ColumnEmbed
from variorum.layers.embed.log_mel import LogMel
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.series_patches import SeriesPatches
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.embed.vectors import VectorEmbed
from variorum.layers.embed.window_patches import WindowPatches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.horizon import HorizonReadout
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.gated_conv import Looks
from variorum.layers.pools.first import FirstToken
from variorum.layers.pools.mean import MeanPool
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.sinusoid import Sinusoid
from variorum.models.blocks.block import Block
from variorum.models.instance_normalised import InstanceNormalised
from variorum.models.stack import Stack

# Tokens of 80 milliseconds, of frames that are 20 apart.
_HEARD = LogMel.spec(frames=SubsampledFrames.spec(channels=32, halvings=2, looks=Looks.BOTH), bins=64, window=0.04,
                     hop=0.02, centre=-8.0, spread=5.0)  # fmt: skip


@entry(
    "turner-introduction",
    sizes={
        "vit-base-16": {"dim": 768, "depth": 12, "heads": 12, "embed": ClassToken.spec(
            embed=Patches.spec(patch=16), position=LearnedPosition.spec())},
    },
    fits={
        data: [{**ends, "dim": dim, "depth": depth, "heads": 4} for dim, depth in sizes]
        for data, ends, sizes in (
            ("images", {"embed": ClassToken.spec(embed=Patches.spec(patch=4), position=LearnedPosition.spec())},
             [(64, 2), (96, 6), (96, 4), (32, 1)]),
            ("sounds", {"embed": ClassToken.spec(embed=_HEARD, position=Sinusoid.spec())},
             [(64, 2), (96, 4), (128, 4), (32, 1)]),
            ("table", {"embed": ClassToken.spec(embed=ColumnEmbed.spec())}, [(64, 1), (64, 3), (128, 2), (32, 1)]),
            ("labelled texts", {"pool": MeanPool.spec(), "embed": TokenEmbed.spec(position=Sinusoid.spec())},
             [(64, 1), (64, 2), (128, 2), (32, 1)]),
            ("labelled series",
             {"embed": ClassToken.spec(embed=SeriesPatches.spec(most=64), position=Sinusoid.spec())},
             [(64, 2), (64, 3), (128, 2), (32, 1)]),
            ("series", {"embed": WindowPatches.spec(patch=8), "head": HorizonReadout.spec(patch=8),
                        "around": InstanceNormalised.spec()}, [(64, 1), (64, 3), (128, 2), (32, 1)]),
            ("point clouds", {"embed": ClassToken.spec(embed=VectorEmbed.spec(features=3))},
             [(64, 2), (64, 3), (128, 2), (32, 1)]),
        )
    },
)  # fmt: skip
def encoder(
    *, dim: int, depth: int, heads: int, embed: Spec[Embed], pool: Spec[Pool] = FirstToken.spec(),
    head: Spec[Head] | None = None, around: Spec[Skeleton] | None = None,
) -> Spec[Skeleton]:  # fmt: skip
    """The note's body between an embed and a classifier that reads one vector a row, or another head.

    around: what scales inputs and answers, its ``model`` still open.
    """
    block = Block.spec(mixer=Attention.spec(heads=heads), channels=MLP.spec())
    stack = Stack.spec(dim=dim, embed=embed, blocks=[block] * depth, head=head or Classifier.spec(pool=pool))
    return around.but(model=stack) if around is not None else stack
