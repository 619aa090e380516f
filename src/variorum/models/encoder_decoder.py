"""Two stacks: one reads the source, the other writes the target and attends to it. Vaswani et al. 2017."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from variorum.core import Conditioned, Input, Layout, Memory, Skeleton, Spec, State, Streaming, Tower, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block, streaming
from variorum.models.stack import Stack
from variorum.models.tying import tie

_READ = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
_WRITE = Block.spec(
    mixer=Attention.spec(heads=2, pattern=Causal.spec()), cross=Attention.spec(heads=2), channels=MLP.spec()
)


class EncoderDecoder(Skeleton, Streaming, Conditioned):
    """decoder(target, memory = encoder(source)). Vaswani et al. 2017, arXiv:1706.03762.

    The encoder's own head is not used (``Features``); the decoder's blocks have a ``cross`` mixer. The decoder
    streams if its blocks do: ``memory = model.encode(source)``, then ``advance(target_piece, state, memory=memory)``.
    """

    inputs: ClassVar[Mapping[str, Input]] = {
        "source": Input("encoder.embed", "source_layout"),
        "target": Input("decoder.embed"),
    }
    examples = (
        {
            "encoder": Stack.spec(embed=TokenEmbed.spec(), blocks=[_READ], head=Features.spec()),
            "decoder": Stack.spec(embed=TokenEmbed.spec(), blocks=[_WRITE], head=Unembed.spec()),
        },
    )

    def __init__(
        self, dim: int, *, encoder: Spec[Tower], decoder: Spec[Tower], tied: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__()
        self.encoder = encoder.build(dim=dim)
        self.decoder = decoder.build(dim=dim)
        tie(self, tied)

    @property
    def traits(self) -> Traits:
        """The decoder's promises about the target."""
        return self.decoder.traits.but(memory=False, alone=True)

    def forward(
        self, source: Tensor, target: Tensor, source_layout: Layout | None = None, layout: Layout | None = None
    ) -> Tensor:
        return self.decoder(target, layout, self.encode(source, source_layout))

    def encode(self, source: Tensor, source_layout: Layout | None = None) -> Memory:
        """What the decoder attends to."""
        return Memory(*self.encoder.hidden(source, source_layout))

    def start(self, batch: int) -> State:
        return streaming(self.decoder).start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        return streaming(self.decoder).advance(x, state, layout, memory)
