"""Formal Algorithms for Transformers. Phuong & Hutter 2022, arXiv:2207.09238.

The plain Transformer in its three forms, against which every other system is diffed: the encoder-decoder (algorithm 8,
Vaswani et al. 2017), the encoder (algorithm 9, BERT) and the decoder (algorithm 10, GPT-2). The executable algorithms
themselves, written token by token, are in ``variorum.explain.formal``. The paper prints no sizes; those below are of
the three models that it formalises.
"""

from enum import StrEnum

from variorum.core import Skeleton, Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.features import Features
from variorum.layers.heads.masked_lm import MaskedLMHead
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.pools.first import FirstToken
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.stack import Stack


class Form(StrEnum):
    """The three architectures of the paper, and the encoder with a class as its answer."""

    DECODER = "decoder"
    ENCODER = "encoder"
    ENCODER_DECODER = "encoder-decoder"
    CLASSIFIER = "classifier"


@entry(
    "formal-algorithms-transformers",
    sizes={
        "decoder-gpt2": {"form": Form.DECODER, "dim": 768, "depth": 12, "heads": 12, "length": 1024},
        "encoder-bert-base": {"form": Form.ENCODER, "dim": 768, "depth": 12, "heads": 12, "length": 512},
        "encoder-decoder-base": {"form": Form.ENCODER_DECODER, "dim": 512, "depth": 6, "heads": 8, "length": 512},
    },
    fits={
        data: [
            {"form": form, "dim": dim, "depth": depth, "heads": heads, "length": length} for dim, depth, heads in sizes
        ]
        for data, form, length, sizes in (
            ("text", Form.DECODER, 256, [(64, 1, 4), (64, 2, 4), (128, 2, 4), (192, 4, 6)]),
            ("labelled texts", Form.CLASSIFIER, 257, [(64, 1, 4), (64, 2, 4), (128, 2, 4), (32, 1, 4)]),
            ("text pairs", Form.ENCODER_DECODER, 257, [(64, 1, 4), (128, 1, 4), (128, 2, 4)]),
        )
    },
)
def transformer(form: Form, *, dim: int, depth: int, heads: int, length: int = 512) -> Spec[Skeleton]:
    """The plain Transformer in one of its forms."""
    build = {Form.DECODER: decoder, Form.ENCODER: encoder, Form.ENCODER_DECODER: encoder_decoder,
             Form.CLASSIFIER: classifier}  # fmt: skip
    return build[form](dim=dim, depth=depth, heads=heads, length=length)


def decoder(*, dim: int, depth: int, heads: int, length: int) -> Spec[Stack]:
    """DTransformer, algorithm 10: pre-norm blocks, each token attends to those before it."""
    block = Block.spec(mixer=Attention.spec(heads=heads, pattern=Causal.spec()), channels=MLP.spec())
    return Stack.spec(dim=dim, embed=_tokens(length), blocks=[block] * depth, head=Unembed.spec())


def encoder(*, dim: int, depth: int, heads: int, length: int) -> Spec[Stack]:
    """ETransformer, algorithm 9: post-norm blocks, each token attends to all; one more layer before unembedding."""
    block = Block.spec(mixer=Attention.spec(heads=heads), channels=MLP.spec(), residual=PostNorm.spec())
    head = MaskedLMHead.spec(bias=False)
    return Stack.spec(dim=dim, embed=_tokens(length), blocks=[block] * depth, norm=NoNorm.spec(), head=head)


def classifier(*, dim: int, depth: int, heads: int, length: int) -> Spec[Stack]:
    """ETransformer whose first token, which stands before every text, tells the class of the row, as BERT's does."""
    answer = Classifier.spec(pool=FirstToken.spec())
    return encoder(dim=dim, depth=depth, heads=heads, length=length).but(head=answer)


def encoder_decoder(*, dim: int, depth: int, heads: int, length: int) -> Spec[EncoderDecoder]:
    """EDTransformer, algorithm 8: post-norm with ReLU; the decoder's blocks also attend to the encoder's tokens."""
    channels = MLP.spec(activation=Activation.RELU)
    read = Block.spec(mixer=Attention.spec(heads=heads), channels=channels, residual=PostNorm.spec())
    write = read.but(mixer=Attention.spec(heads=heads, pattern=Causal.spec()), cross=Attention.spec(heads=heads))
    source = Stack.spec(embed=_tokens(length), blocks=[read] * depth, norm=NoNorm.spec(), head=Features.spec())
    target = Stack.spec(embed=_tokens(length), blocks=[write] * depth, norm=NoNorm.spec(), head=Unembed.spec())
    return EncoderDecoder.spec(dim=dim, encoder=source, decoder=target)


def _tokens(length: int) -> Spec[TokenEmbed]:
    return TokenEmbed.spec(position=LearnedPosition.spec(length=length))
