"""The plain decoder, as small as it gets."""

from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


def tiny_decoder(dropout=0.0, depth=1, dim=16):
    """The plain decoder; dropout on embeddings, attention weights and channels."""
    mixer = Attention.spec(heads=2, pattern=Causal.spec(), dropout=dropout)
    block = Block.spec(mixer=mixer, channels=MLP.spec(dropout=dropout))
    embed = TokenEmbed.spec(position=LearnedPosition.spec(), dropout=dropout)
    return Stack.spec(dim=dim, embed=embed, blocks=[block] * depth, head=Unembed.spec())
