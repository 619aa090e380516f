"""Magneto, a Foundation Transformer. Wang et al. 2022, arXiv:2210.06423.

What differs from the plain Transformer: Sub-LayerNorm, a second norm inside each sub-layer, before its last matrix
(not in cross-attention, as the paper and the authors' torchscale have it), and initial values that bound how much the
model's answer moves in a step, whatever its depth: Xavier's, those of values, outputs and channels times gamma, with
gamma = sqrt(log 2N) for N layers of an encoder or a decoder alone, and sqrt(log(3M) log(2N) / 3) for the encoder and
sqrt(log 3M) for the decoder of a model with N and M. One recipe for language, translation and vision.
"""

from enum import StrEnum
from math import log, sqrt

from variorum.core import Initialiser, Layer, Pattern, Skeleton, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.initial.constant import Constant
from variorum.layers.initial.xavier_normal import XavierNormal
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full
from variorum.layers.pools.first import FirstToken
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.stack import Stack


class Form(StrEnum):
    """What it is built for: next tokens, masked tokens, translation, images."""

    DECODER = "decoder"
    ENCODER = "encoder"
    ENCODER_DECODER = "encoder-decoder"
    VISION = "vision"


@entry(
    "magneto",
    sizes={
        "causal-lm": {"form": Form.DECODER, "dim": 1024, "depth": 24, "heads": 16, "length": 2048},
        "masked-lm": {"form": Form.ENCODER, "dim": 768, "depth": 12, "heads": 12, "length": 512},
        "translation": {"form": Form.ENCODER_DECODER, "dim": 512, "depth": 18, "heads": 8, "length": 512},
        "vision-base": {"form": Form.VISION, "dim": 768, "depth": 12, "heads": 12},
        "vision-large": {"form": Form.VISION, "dim": 1024, "depth": 24, "heads": 16},
    },
    fits={
        data: [{**rest, "dim": dim, "depth": depth, "heads": heads} for dim, depth, heads in sizes]
        for data, rest, sizes in (
            ("text", {"form": Form.DECODER, "length": 256}, [(64, 1, 4), (64, 2, 4), (128, 2, 4), (192, 4, 6)]),
            ("images", {"form": Form.VISION, "patch": 4}, [(64, 2, 4), (96, 4, 4), (96, 6, 4), (32, 1, 4)]),
            ("text pairs", {"form": Form.ENCODER_DECODER, "length": 257}, [(64, 1, 4), (128, 1, 4), (128, 2, 4)]),
        )
    },
)
def magneto(form: Form, *, dim: int, depth: int, heads: int, length: int = 512, patch: int = 16) -> Spec[Skeleton]:
    """Sub-LayerNorm blocks with DeepNet's initial values; ``length`` of texts, ``patch`` of images."""
    embed = TokenEmbed.spec(position=LearnedPosition.spec(length=length))
    if form is Form.ENCODER_DECODER:
        read = Stack.spec(embed=embed, blocks=[block(heads, Full.spec())] * depth, head=Features.spec(),
                          initial=initial(sqrt(log(3 * depth) * log(2 * depth) / 3)))  # fmt: skip
        write = Stack.spec(
            embed=embed,
            blocks=[block(heads, Causal.spec()).but(cross=Attention.spec(heads=heads))] * depth,
            head=Unembed.spec(),
            initial=initial(sqrt(log(3 * depth)), mixers=("mixer", "cross")),
        )
        return EncoderDecoder.spec(dim=dim, encoder=read, decoder=write)
    pattern: Spec[Pattern] = Causal.spec() if form is Form.DECODER else Full.spec()
    values = initial(sqrt(log(2 * depth)))
    model = Stack.spec(
        dim=dim, embed=embed, blocks=[block(heads, pattern)] * depth, head=Unembed.spec(), initial=values
    )
    if form is not Form.VISION:
        return model
    image = ClassToken.spec(embed=Patches.spec(patch=patch), position=LearnedPosition.spec())
    return model.but(embed=image, head=Classifier.spec(pool=FirstToken.spec()))


def block(heads: int, pattern: Spec[Pattern]) -> Spec[Layer]:
    """x + W_o LN(attention(LN(x))), then x + W_2 LN(gelu(W_1 LN(x)))."""
    inner = LayerNorm.spec()
    return Block.spec(mixer=Attention.spec(heads=heads, pattern=pattern, norm=inner), channels=MLP.spec(norm=inner))


def initial(gamma: float, *, mixers: tuple[str, ...] = ("mixer",)) -> list[Spec[Initialiser]]:
    """Initial values of all blocks: gain 1 for queries and keys, gamma for all else, biases 0."""
    plain = [f"blocks.*.{mixer}.{name}.weight" for mixer in mixers for name in ("query", "key")]
    scaled = [f"blocks.*.{mixer}.{name}.weight" for mixer in mixers for name in ("value", "out")]
    scaled += [f"blocks.*.channels.{name}.weight" for name in ("up", "down")]
    return [XavierNormal.spec(names=plain), XavierNormal.spec(names=scaled, gain=gamma),
            Constant.spec(names=["blocks.*.bias"])]  # fmt: skip
