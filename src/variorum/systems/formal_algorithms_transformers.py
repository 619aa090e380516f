"""Formal Algorithms for Transformers. Phuong & Hutter 2022, arXiv:2207.09238.

The plain Transformer in its three forms, with the paper's sizes left to the reader; every other system is diffed
against these.
"""

from variorum.core import Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


@entry("formal-algorithms-transformers", sizes={"gpt2": {"dim": 768, "depth": 12, "heads": 12}}, fits={"text": {"dim": 192, "depth": 4, "heads": 6}})
def decoder(dim: int, depth: int, heads: int, length: int = 1024) -> Spec[Stack]:
    """DTransformer, algorithm 10: pre-norm causal blocks over learned positions."""
    block = Block.spec(mixer=Attention.spec(heads=heads, pattern=Causal.spec()), channels=MLP.spec())
    return Stack.spec(
        dim=dim, embed=TokenEmbed.spec(position=LearnedPosition.spec(length=length)), blocks=[block] * depth, head=Unembed.spec()
    )
