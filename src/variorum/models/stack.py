"""The plain skeleton: embed, blocks, norm, head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from variorum.core import Embed, Head, Layer, Layout, Memory, Norm, Spec, State, Streaming, Tower, Traits, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block, streaming
from variorum.models.tying import tie

_CAUSAL = Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())
_BOTH = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
_EMBED = TokenEmbed.spec(position=LearnedPosition.spec(length=64))


class Stack(Tower, Streaming):
    """head(norm(block_L(... block_1(embed(inputs))))).

    Blocks with a cross mixer attend to ``memory``.
    tied: pairs of parameter names that are one tensor, such as ``("head.linear.weight", "embed.token.weight")``.
    With causal streaming blocks the whole model streams: ``start``, ``advance``, ``step``.
    """

    examples = (
        {"embed": _EMBED, "blocks": [_CAUSAL] * 2, "head": Unembed.spec()},
        {"embed": _EMBED, "blocks": [_BOTH] * 2, "head": Classifier.spec()},
    )

    def __init__(
        self,
        dim: int,
        *,
        embed: Spec[Embed],
        blocks: Sequence[Spec[Layer]],
        head: Spec[Head],
        norm: Spec[Norm] = LayerNorm.spec(),
        tied: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self.embed = embed.build(dim=dim)
        self.blocks = nn.ModuleList(block.build(dim=dim) for block in blocks)
        self.norm = norm.build(dim=dim)
        self.head = head.build(dim=dim)
        tie(self, tied)

    @property
    def traits(self) -> Traits:
        """The promises of embed, blocks and head one after the other."""
        return promises((self.embed, *self.blocks, self.head))

    def forward(self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None) -> Tensor:
        x, layout = self.hidden(inputs, layout, memory)
        return self.head(x, layout)

    def hidden(
        self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Layout | None]:
        x, layout = self.embed(inputs, layout)
        for block in self.blocks:
            x = block(x, layout, memory)
        return self.norm(x), layout

    def start(self, batch: int) -> State:
        length = torch.zeros(batch, dtype=torch.int64, device=next(self.parameters()).device)
        blocks = {str(i): streaming(block).start(batch) for i, block in enumerate(self.blocks)}
        return State(length=length, **blocks)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        """The next piece of the raw inputs of every row, and the head's answers to it."""
        length = state.tensor("length")
        layout = (layout or Layout()).but(start=length)
        more = torch.tensor(layout.lengths, device=length.device) if layout.packed else x.shape[1]
        x, layout = self.embed(x, layout)
        after: dict[str, Any] = {"length": length + more}
        for i, block in enumerate(self.blocks):
            x, after[str(i)] = streaming(block).advance(x, state.child(str(i)), layout, memory)
        return self.head(self.norm(x), layout), State(after)
