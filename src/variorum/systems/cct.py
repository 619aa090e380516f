"""Escaping the Big Data Paradigm with Compact Transformers. Hassani et al. 2021, arXiv:2104.05704.

Three steps from ViT to a Transformer that learns from small data: ViT-Lite (small patches, few layers), CVT (the class
token gives way to sequence pooling), CCT (patches give way to convolutions). CCT-L/KxC has L layers and C convolutions
of K x K. For text the convolution goes along the words, which are 300 wide: Text-CCT-L/K. The paper's layers are
pre-norm; its official code also puts a norm on the stream between attention and MLP (``norms=Norms.CODE``), with as
many parameters. Positions are learned for images, sinusoids for text; ``replace("embed.position", ...)`` gives others,
and with ``NoPosition`` or ``Sinusoid`` one model takes images of any size.
"""

from enum import StrEnum

from variorum.core import Embed, Layer, Pool, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.conv_tokens import ConvTokens
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.series_conv_tokens import SeriesConvTokens
from variorum.layers.embed.sound_picture import SoundPicture
from variorum.layers.embed.text_conv_tokens import TextConvTokens
from variorum.layers.heads.classifier import Classifier
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.pools.first import FirstToken
from variorum.layers.pools.sequence import SeqPool
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.sinusoid import Sinusoid
from variorum.layers.residuals.doublenorm import DoubleNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.stochastic_depth import StochasticDepth
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

_LEARNED = LearnedPosition.spec(std=0.2)
SEQPOOL, CLASS = SeqPool.spec(), FirstToken.spec()


def conv(kernel: int, layers: int) -> Spec[Embed]:
    """CCT's tokenizer; the authors' convolutions of 7 x 7, for large images, have stride 2, those of 3 x 3 stride 1."""
    return ConvTokens.spec(kernel=kernel, stride=max(1, kernel // 2 - 1), layers=layers, position=_LEARNED)


def patches(size: int) -> Spec[Embed]:
    """CVT's tokenizer."""
    return Patches.spec(patch=size, position=_LEARNED)


def class_patches(size: int) -> Spec[Embed]:
    """ViT-Lite's tokenizer."""
    return ClassToken.spec(embed=Patches.spec(patch=size), position=_LEARNED)


def words(kernel: int, width: int = 300) -> Spec[Embed]:
    """CCT's tokenizer of texts."""
    return TextConvTokens.spec(kernel=kernel, width=width, position=Sinusoid.spec())


def steps() -> Spec[Embed]:
    """The tokenizer of texts, along a series."""
    return SeriesConvTokens.spec(position=Sinusoid.spec())


def heard(hidden: int) -> Spec[Embed]:
    """The tokenizer of images, three convolutions deep and narrow inside, on the picture of a sound."""
    return SoundPicture.spec(embed=ConvTokens.spec(kernel=3, layers=3, hidden=hidden, position=_LEARNED))


class Norms(StrEnum):
    """Where the norms of a layer stand."""

    PAPER = "paper"
    CODE = "code"


@entry(
    "cct",
    sizes={
        "cct-2/3x2": {"dim": 128, "depth": 2, "heads": 2, "ratio": 1, "embed": conv(3, 2)},
        "cct-4/3x2": {"dim": 128, "depth": 4, "heads": 2, "ratio": 1, "embed": conv(3, 2)},
        "cct-6/3x1": {"dim": 256, "depth": 6, "heads": 4, "ratio": 2, "embed": conv(3, 1)},
        "cct-7/3x1": {"dim": 256, "depth": 7, "heads": 4, "ratio": 2, "embed": conv(3, 1)},
        "cct-7/3x2": {"dim": 256, "depth": 7, "heads": 4, "ratio": 2, "embed": conv(3, 2)},
        "cct-14/7x2": {"dim": 384, "depth": 14, "heads": 6, "ratio": 3, "embed": conv(7, 2)},
        "cvt-7/4": {"dim": 256, "depth": 7, "heads": 4, "ratio": 2, "embed": patches(4)},
        "vit-lite-7/4": {"dim": 256, "depth": 7, "heads": 4, "ratio": 2, "embed": class_patches(4), "pool": CLASS},
        "text-cct-2/2": {"dim": 128, "depth": 2, "heads": 2, "ratio": 1, "embed": words(2)},
        "text-cct-4/2": {"dim": 128, "depth": 4, "heads": 2, "ratio": 1, "embed": words(2)},
        "text-cct-6/1": {"dim": 256, "depth": 6, "heads": 4, "ratio": 2, "embed": words(1)},
    },
    fits={
        data: [{"dim": dim, "depth": depth, "heads": 2, "ratio": 1, "embed": embed} for dim, depth, embed in sizes]
        for data, sizes in (
            ("images", [(64, 2, conv(3, 2)), (128, 2, conv(3, 2)), (128, 4, conv(3, 2)), (32, 1, conv(3, 2))]),
            ("labelled texts", [(64, 2, words(2, 64)), (64, 2, words(2)), (128, 2, words(2)), (32, 1, words(2, 32))]),
            ("labelled series", [(64, 2, steps()), (128, 2, steps()), (128, 4, steps()), (32, 1, steps())]),
            ("sounds", [(64, 2, heard(16)), (128, 2, heard(32)), (128, 4, heard(32)), (32, 1, heard(16))]),
        )
    },
)
def cct(
    *,
    dim: int,
    depth: int,
    heads: int,
    ratio: int,
    embed: Spec[Embed],
    pool: Spec[Pool] = SEQPOOL,
    norms: Norms = Norms.PAPER,
    drop: float = 0.1,
) -> Spec[Stack]:
    """A compact Transformer with dropout ``drop``; stochastic depth rises to that from layer to layer."""
    blocks = [layer(dim, heads, ratio, norms, drop, drop * i / max(depth - 1, 1)) for i in range(depth)]
    return Stack.spec(dim=dim, embed=embed, blocks=blocks, head=Classifier.spec(pool=pool))


def layer(dim: int, heads: int, ratio: int, norms: Norms, dropout: float, drop: float) -> Spec[Layer]:
    """Attention without bias on q, k, v; MLP; each row skips a branch with probability ``drop``."""
    mixer_join = {Norms.PAPER: PreNorm.spec(dropout=dropout), Norms.CODE: DoubleNorm.spec(dropout=dropout)}[norms]
    channels_join = {Norms.PAPER: mixer_join, Norms.CODE: PreNorm.spec(norm=NoNorm.spec(), dropout=dropout)}[norms]
    return Block.spec(
        mixer=Attention.spec(heads=heads, qkv_bias=False, dropout=dropout),
        channels=MLP.spec(hidden=ratio * dim, dropout=dropout),
        residual=StochasticDepth.spec(inner=mixer_join, drop=drop),
        channels_residual=StochasticDepth.spec(inner=channels_join, drop=drop),
    )
