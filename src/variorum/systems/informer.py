"""Informer: long-horizon forecasting in one pass. Zhou et al. 2020, arXiv:2012.07436.

What differs from the plain encoder-decoder: ProbSparse attention instead of full self-attention, a distilling
convolution that halves the length between encoder layers, optionally replicas of the encoder on halved inputs, and a
decoder that is given a start of known values and zeros for the horizon, and fills them in one pass. Cross-attention
stays full.
"""

from variorum.core import Merge, Norm, Spec, Tower, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.given import Given
from variorum.layers.embed.series import SeriesEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.readout import Readout
from variorum.layers.merges.distill import Distill
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.probsparse import ProbSparse
from variorum.layers.patterns.causal import Causal
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.forecaster import GenerativeForecaster
from variorum.models.pyramid import Pyramid
from variorum.models.replicas import Replicas
from variorum.models.stack import Stack

_DISTILL: Spec[Merge] = Distill.spec()


@entry(
    "informer",
    sizes={
        "informer": {"dim": 512, "heads": 8, "depths": (2,), "hidden": 2048, "start": 48},
        "informer-stack": {"dim": 512, "heads": 8, "depths": (3, 2, 1), "hidden": 2048, "start": 48},
    },
    fits={
        "series": [
            {"dim": dim, "heads": 4, "depths": depths, "hidden": 4 * dim, "start": 48}
            for dim, depths in ((32, (2,)), (64, (2,)), (128, (2,)), (32, (1,)))
        ]
    },
)
def informer(
    *,
    dim: int,
    heads: int,
    depths: tuple[int, ...],
    hidden: int,
    start: int,
    decoder_depth: int = 1,
    factor: int = 5,
    dropout: float = 0.05,
) -> Spec[GenerativeForecaster]:
    """Encoder(s) of ``depths`` layers, each on half the input of the one before, and a generative decoder."""
    sparse = ProbSparse.spec(heads=heads, factor=factor)
    channels = MLP.spec(hidden=hidden, dropout=dropout)
    read = Block.spec(mixer=sparse, channels=channels, residual=PostNorm.spec(dropout=dropout))
    write = read.but(mixer=sparse.but(pattern=Causal.spec()), cross=Attention.spec(heads=heads))
    embed = SeriesEmbed.spec(dropout=dropout)
    decoder = Stack.spec(embed=embed, blocks=[write] * decoder_depth, head=Readout.spec())
    towers = [distilling(read, dim, depth) for depth in depths]
    encoder: Spec[Tower] = Replicas.spec(embed=embed, towers=towers)
    return GenerativeForecaster.spec(start=start, model=EncoderDecoder.spec(dim=dim, encoder=encoder, decoder=decoder))


def distilling(block: Spec[Block], dim: int, depth: int, norm: Spec[Norm] | None = None) -> Spec[Tower]:
    """``depth`` blocks, the length halved between any two."""
    pyramid = Pyramid.spec(dims=[dim] * depth, embed=Given.spec(), stages=[[block]] * depth,
                           merges=[_DISTILL] * (depth - 1), head=Features.spec())  # fmt: skip
    return pyramid if norm is None else pyramid.but(norm=norm)
