"""Attention Is Not All You Need Anymore. Chen 2023, arXiv:2308.07661 (Extractors).

What differs from the plain decoder: in the place of attention, a sum of the past whose weights belong to lags, times a
map of the present token. The four of the paper differ in what a lag has: a matrix (``SHE``, super high performance), a
number for each channel (``HE``, higher performance), one number (``WE``, worthwhile), or one number and no map of the
present (``ME``, minimalist). Each is a case of the one before.

Of the paper only what others tell of it was at hand. The place of constants and linear maps is inferred from this
nesting; no width or depth of its models, nor of those of its sequel (arXiv:2311.12678), could be found out, so that
there are no published sizes here, and those for a laptop are ours. What a mixer costs is checked against the formulas.
"""

from enum import StrEnum

from variorum.core import Mixer, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.extractor import Extractor, Lags
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


class Variant(StrEnum):
    """The extractors of the paper."""

    SHE = "she"
    HE = "he"
    WE = "we"
    ME = "me"


MIXERS: dict[Variant, Spec[Mixer]] = {
    Variant.SHE: Extractor.spec(lags=Lags.MATRIX),
    Variant.HE: Extractor.spec(lags=Lags.VECTOR),
    Variant.WE: Extractor.spec(lags=Lags.SCALAR),
    Variant.ME: Extractor.spec(lags=Lags.SCALAR, adjusted=False),
}


@entry(
    "extractors",
    fits={
        "text": [
            {"variant": variant, "dim": dim, "depth": depth, "length": 256}
            for variant, dim, depth in (
                (Variant.WE, 64, 2), (Variant.HE, 128, 2), (Variant.WE, 128, 2), (Variant.ME, 64, 2),
            )
        ]
    },
)  # fmt: skip
def extractors(variant: Variant, *, dim: int, depth: int, length: int) -> Spec[Stack]:
    """A pre-norm decoder of one kind of extractors, for rows of up to ``length``."""
    block = Block.spec(mixer=MIXERS[variant].but(length=length), channels=MLP.spec())
    embed = TokenEmbed.spec(position=LearnedPosition.spec(length=length))
    return Stack.spec(dim=dim, embed=embed, blocks=[block] * depth, head=Unembed.spec())
