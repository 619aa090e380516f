"""An encoder whose tokens are each scored for every label and for none. Graves et al. 2006."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from variorum.core import Head, Input, Layout, Memory, Skeleton, Spec, State, Streaming, Tower, Traits
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.gated_conv import GatedConv
from variorum.layers.mixers.relative_attention import RelativeAttention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.patterns.chunked import Chunked
from variorum.models.alignments import Framewise
from variorum.models.blocks.block import streaming
from variorum.models.blocks.conformer import ConformerBlock
from variorum.models.stack import Stack

_HEAR = ConformerBlock.spec(
    mixer=RelativeAttention.spec(heads=2, pattern=Chunked.spec(left=2, right=1)), conv=GatedConv.spec(kernel=3)
)
_ENCODER = Stack.spec(
    embed=SubsampledFrames.spec(bins=5, channels=2, halvings=1),
    blocks=[_HEAR],
    norm=NoNorm.spec(),
    head=Features.spec(),
)


class Recogniser(Skeleton, Streaming):
    """Framewise(head(encoder(inputs))): the scores that connectionist temporal classification aligns with labels.

    Graves et al. 2006. The encoder's own head is ``Features``. Where its embed makes fewer tokens of the inputs, the
    answers lie as the tokens do; ``advance`` gives the scores of the tokens of a piece.
    """

    inputs: ClassVar[Mapping[str, Input]] = {"inputs": Input("encoder.embed")}
    examples = ({"encoder": _ENCODER, "head": Unembed.spec(bias=True)},)

    def __init__(self, dim: int, *, encoder: Spec[Tower], head: Spec[Head]) -> None:
        super().__init__()
        self.encoder = encoder.build(dim=dim)
        self.head = head.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the encoder."""
        return self.encoder.traits

    def forward(self, inputs: Tensor, layout: Layout | None = None) -> Framewise:
        x, layout = self.encoder.hidden(inputs, layout)
        return Framewise.of(self.head(x, layout), layout)

    def start(self, batch: int) -> State:
        return streaming(self.encoder).start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        tokens, state = streaming(self.encoder).advance(x, state, layout)
        return self.head(tokens), state
