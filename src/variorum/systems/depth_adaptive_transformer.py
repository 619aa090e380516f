"""Depth-adaptive Transformer. Elbayad, Gu, Grave & Auli 2019, arXiv:1910.10073.

What differs from the encoder-decoder of Vaswani et al.: a classifier after every block of the decoder, and a policy
that chooses for each row or token the block after which it is answered. Deeper blocks then see the state that the token
left with. Training judges every exit (aligned), or random sequences of exits (mixed, ``sampled`` of them a step); a
policy that learns is shown an oracle's exits.

Sizes are those of the two fairseq architectures of the paper: IWSLT'14 German-English and WMT'14 English-French.
Policies: see ``variorum.models.exits``. Not built: the gradient scaling of the paper's appendix.
"""

from enum import StrEnum

from variorum.core import Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.sinusoid import Sinusoid
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.models.early_exit import EarlyExit
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.exits.poisson_binomial import PoissonBinomialExit
from variorum.models.exits.policy import ExitPolicy
from variorum.models.exits.sequence import SequenceExit
from variorum.models.exits.threshold import ConfidenceExit
from variorum.models.exits.token import TokenExit
from variorum.models.stack import Stack

_IWSLT = {"dim": 512, "depth": 6, "heads": 4, "hidden": 1024}
_WMT = {"dim": 1024, "depth": 6, "heads": 16, "hidden": 4096}
_LEARNED = {
    "sequence": SequenceExit.spec(),
    "token": TokenExit.spec(),
    "poisson-binomial": PoissonBinomialExit.spec(),
}


class Classifiers(StrEnum):
    """Has each exit a matrix of its own, or do all share one?"""

    SEPARATE = "separate"
    SHARED = "shared"


@entry(
    "depth-adaptive-transformer",
    sizes={
        "iwslt-de-en": _IWSLT,
        "wmt-en-fr": _WMT,
        **{f"iwslt-de-en-{name}": {**_IWSLT, "policy": policy} for name, policy in _LEARNED.items()},
        **{f"wmt-en-fr-{name}": {**_WMT, "policy": policy} for name, policy in _LEARNED.items()},
    },
    fits={
        "text pairs": [
            {"dim": dim, "depth": depth, "heads": 4, "hidden": 4 * dim} for dim, depth in ((64, 2), (128, 2), (128, 4))
        ]
    },
)
def depth_adaptive_transformer(
    *,
    dim: int,
    depth: int,
    heads: int,
    hidden: int,
    policy: Spec[ExitPolicy] = ConfidenceExit.spec(),
    classifiers: Classifiers = Classifiers.SEPARATE,
    sampled: int = 0,
    encoder_depth: int | None = None,
) -> Spec[EncoderDecoder]:
    """Post-norm blocks with ReLU and sinusoidal positions; the decoder has ``depth`` exits."""
    channels = MLP.spec(hidden=hidden, activation=Activation.RELU)
    read = Block.spec(mixer=Attention.spec(heads=heads), channels=channels, residual=PostNorm.spec())
    write = read.but(mixer=Attention.spec(heads=heads, pattern=Causal.spec()), cross=Attention.spec(heads=heads))
    embed = TokenEmbed.spec(position=Sinusoid.spec())
    shared = range(1, depth) if classifiers is Classifiers.SHARED else ()
    source = Stack.spec(embed=embed, blocks=[read] * (encoder_depth or depth), norm=NoNorm.spec(), head=Features.spec())
    target = EarlyExit.spec(
        embed=embed,
        blocks=[write] * depth,
        norm=NoNorm.spec(),
        head=Unembed.spec(),
        policy=policy,
        sampled=sampled,
        tied=[(f"heads.{k}.linear.weight", "heads.0.linear.weight") for k in shared],
    )
    return EncoderDecoder.spec(dim=dim, encoder=source, decoder=target)
