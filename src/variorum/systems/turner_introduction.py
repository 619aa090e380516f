"""An Introduction to Transformers. Turner 2023, arXiv:2304.10557.

The body of the note: pre-norm layers Y = X + MHSA(LN(X)), X' = Y + MLP(LN(Y)) over a set of tokens, positions added to
the tokens, and a class token or a mean as the answer's source. The same body serves every kind of data; what makes
tokens of it is the embed. The note transcribed token by token is ``variorum.explain.formal.turner``.
"""

from variorum.core import Embed, Head, Pool, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.columns import ColumnEmbed
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.mixers.attention import Attention
from variorum.layers.pools.first import FirstToken
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


@entry(
    "turner-introduction",
    sizes={
        "vit-base-16": {"dim": 768, "depth": 12, "heads": 12, "embed": ClassToken.spec(
            embed=Patches.spec(patch=16), position=LearnedPosition.spec())},
    },
    fits={
        "images": {"dim": 96, "depth": 6, "heads": 4, "embed": ClassToken.spec(
            embed=Patches.spec(patch=4), position=LearnedPosition.spec())},
        "table": {"dim": 64, "depth": 3, "heads": 4, "embed": ClassToken.spec(embed=ColumnEmbed.spec())},
    },
)  # fmt: skip
def encoder(
    *, dim: int, depth: int, heads: int, embed: Spec[Embed], pool: Spec[Pool] = FirstToken.spec()
) -> Spec[Stack]:
    """The note's body between an embed and a classifier that reads one vector a row."""
    head: Spec[Head] = Classifier.spec(pool=pool)
    block = Block.spec(mixer=Attention.spec(heads=heads), channels=MLP.spec())
    return Stack.spec(dim=dim, embed=embed, blocks=[block] * depth, head=head)
