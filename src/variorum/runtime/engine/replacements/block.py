"""A whole layer of attention and feed-forward network as a few kernels, with nothing done between them."""

from typing import ClassVar, cast

from torch import nn

from variorum.core import Channel
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.window import Window
from variorum.models.blocks.block import Block
from variorum.runtime.engine.block_shortcut import BlockShortcut
from variorum.runtime.engine.joins import join_of
from variorum.runtime.engine.kernels.product import FINISHED
from variorum.runtime.engine.linears.choose import NUMBERS
from variorum.runtime.engine.linears.native import fits
from variorum.runtime.engine.places import placeable
from variorum.runtime.engine.precision import Precision
from variorum.runtime.engine.replacement import Replacement
from variorum.runtime.engine.replacements.attention import FastAttention, unbiased
from variorum.runtime.engine.replacements.feed_forward import FusedMLP
from variorum.runtime.engine.replacements.gated_feed_forward import FusedGLU


class FusedBlock(Replacement):
    """A Block of attention and an MLP or GLU, each behind or before a norm.

    Its attention and channels are replaced too, for the calls that the shortcut declines.
    """

    of: ClassVar[tuple[type[nn.Module], ...]] = (Block,)

    def refuses(self, module: nn.Module, precision: Precision) -> str | None:
        numbers = NUMBERS.get(precision)
        if numbers is None or not fits(numbers):
            return "no kernel of ours multiplies in it here"
        block = cast(Block, module)
        mixer, channels = block.mixer, cast(nn.Module, block.channels)
        if type(mixer) is not Attention or type(channels) not in (MLP, GLU) or block.cross is not None:
            return "it is not attention and an MLP or GLU alone"
        if not _plain(mixer):
            return "its attention is more than a softmax over all keys, those before, or a window of them"
        if not placeable(mixer):
            return "no kernel of ours norms or turns its queries and keys"
        joins = [join_of(join) for join in (block.mixer_residual, block.channels_residual)]
        if None in joins or len({join.before for join in joins if join is not None}) > 1:
            return "its residuals or their norms are of another kind"
        told = cast(Channel, channels).built_from
        if told is None or Activation(told["activation"]) not in FINISHED:
            return "no kernel of ours applies its nonlinearity"
        return FastAttention().refuses(mixer, precision) or _channels(channels).refuses(channels, precision)

    def make(self, module: nn.Module, precision: Precision) -> nn.Module:
        block = cast(Block, module)
        shortcut = BlockShortcut(block, precision)
        channels = cast(nn.Module, block.channels)
        block.mixer = cast(Attention, FastAttention().make(block.mixer, precision))
        block.channels = _channels(channels).make(channels, precision)  # type: ignore[assignment]
        block.shortcut = shortcut
        return block


def _plain(mixer: Attention) -> bool:
    """Is there nothing about it but a pattern that kernels have, and norms and rotations of queries and keys?"""
    return unbiased(mixer) and (mixer.pattern.dense or (type(mixer.pattern) is Window and mixer.pattern.causal))


def _channels(part: nn.Module) -> Replacement:
    return FusedMLP() if isinstance(part, MLP) else FusedGLU()
