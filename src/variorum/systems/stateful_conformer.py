"""Stateful Conformer: speech recognition that hears chunk by chunk. Noroozi et al. 2023, arXiv:2312.17279.

A FastConformer (Rekesh et al. 2023, arXiv:2305.05084) in which training and use see the same: every convolution, also
the halving ones in front, looks back only; layer norms stand where batch norms were; spectrograms are not normalised
over the utterance; and attention looks ahead by chunks, which does not add up from layer to layer. So a stream keeps
the last keys and values and the last convolution inputs of each layer, and computes every token once.

One model learns several latencies: a context (left, right), in tokens of 80 ms, is drawn for every batch. One encoder
has two decoders, a transducer and a framewise classifier, and is trained for both. Without contexts it is the offline
FastConformer, which looks both ways and everywhere.

Published: the large size, 17 layers of width 512, with 1024 word pieces and the blank.
"""

import math
from collections.abc import Sequence

from variorum.core import Norm, Pattern, Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.joint import Joint
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.gated_conv import GatedConv, Looks
from variorum.layers.mixers.lstm import LSTM
from variorum.layers.mixers.relative_attention import RelativeAttention
from variorum.layers.norms.batchnorm import BatchNorm
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.chunked import Chunked
from variorum.layers.patterns.full import Full
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.skipless import Skipless
from variorum.models.blocks.branch import Branch
from variorum.models.blocks.conformer import ConformerBlock
from variorum.models.lookaheads import Lookaheads
from variorum.models.stack import Stack
from variorum.models.transducer import Transducer

CONTEXTS = ((70, 13), (70, 6), (70, 1), (70, 0))
"""Tokens to the left of a chunk and to the right of its first token: 1040, 480, 80 and 0 ms of look-ahead."""


@entry(
    "stateful-conformer",
    sizes={
        "large": {"dim": 512, "depth": 17, "vocab": 1025},
        "large-offline": {"dim": 512, "depth": 17, "vocab": 1025, "contexts": ()},
    },
    fits={
        "speech": [
            {"dim": dim, "depth": depth, "heads": 4, "channels": 64, "halvings": 2, "labels": dim, "joint": dim}
            for dim, depth in ((144, 4), (96, 2), (144, 8))
        ]
    },
)
def stateful_conformer(
    *,
    dim: int,
    depth: int,
    heads: int = 8,
    contexts: Sequence[tuple[int, int]] = CONTEXTS,
    kernel: int = 9,
    bins: int = 80,
    vocab: int | None = None,
    channels: int = 256,
    halvings: int = 3,
    labels: int = 640,
    joint: int = 640,
    dropout: float = 0.1,
) -> Spec[Transducer]:
    """A transducer and a framewise classifier on one encoder that streams, or on one that hears the whole.

    vocab: labels and the blank; None: what the data tell.     bins: bands of the spectrogram.
    """
    looks = Looks.BACK if contexts else Looks.BOTH
    norm: Spec[Norm] = LayerNorm.spec() if contexts else BatchNorm.spec()
    block = ConformerBlock.spec(
        mixer=RelativeAttention.spec(heads=heads, pattern=Full.spec(), dropout=dropout),
        conv=GatedConv.spec(kernel=kernel, looks=looks, norm=norm),
        channels=MLP.spec(activation=Activation.SILU, dropout=dropout),
        residual=PreNorm.spec(dropout=dropout),
    )
    embed = SubsampledFrames.spec(
        bins=bins, channels=channels, halvings=halvings, looks=looks, scale=math.sqrt(dim), dropout=dropout
    )
    patterns: list[Spec[Pattern]] = [Chunked.spec(left=left, right=right) for left, right in contexts] or [Full.spec()]
    said = Branch.spec(parts=[LSTM.spec()], residual=Skipless.spec(), norm=NoNorm.spec())
    spec = Transducer.spec(
        dim=dim,
        encoder=Lookaheads.spec(
            embed=embed, blocks=[block] * depth, patterns=patterns, norm=NoNorm.spec(), head=Features.spec()
        ),
        prediction=Stack.spec(embed=TokenEmbed.spec(), blocks=[said], norm=NoNorm.spec(), head=Features.spec()),
        joint=Joint.spec(hidden=joint, dropout=2 * dropout),
        labels=labels,
        framewise=Unembed.spec(bias=True),
    )
    return spec if vocab is None else spec.fill(vocab=vocab)
