"""One encoder for several latencies. Noroozi et al. 2023, arXiv:2312.17279, section 3.1."""

from collections.abc import Sequence

import torch
from torch import Tensor

from variorum.core import (
    Embed,
    Head,
    Layer,
    Layout,
    Memory,
    Norm,
    Pattern,
    Spec,
    State,
    Streaming,
    Tower,
    Traits,
    VariorumError,
)
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.layers.heads.features import Features
from variorum.layers.mixers.gated_conv import GatedConv
from variorum.layers.mixers.relative_attention import RelativeAttention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.chunked import Chunked
from variorum.models.blocks.conformer import ConformerBlock
from variorum.models.stack import Stack


class Lookaheads(Tower, Streaming):
    """A Stack whose attention looks by one of several ``patterns``: one drawn for each batch in training, one chosen.

    Noroozi et al. 2023, arXiv:2312.17279: after multi-latency training the user chooses, by :meth:`use`, how long the
    model may wait; at first it is ``patterns[0]``. The rest of the arguments are those of a Stack.
    """

    examples = (
        {
            "embed": SubsampledFrames.spec(bins=5, channels=2, halvings=1),
            "blocks": [ConformerBlock.spec(mixer=RelativeAttention.spec(heads=2), conv=GatedConv.spec(kernel=3))],
            "patterns": [Chunked.spec(left=2, right=1), Chunked.spec(left=2, right=0)],
            "head": Features.spec(),
        },
    )

    def __init__(
        self,
        dim: int,
        *,
        embed: Spec[Embed],
        blocks: Sequence[Spec[Layer]],
        patterns: Sequence[Spec[Pattern]],
        head: Spec[Head],
        norm: Spec[Norm] = LayerNorm.spec(),
    ) -> None:
        super().__init__()
        self.stack = Stack(dim, embed=embed, blocks=blocks, norm=norm, head=head)
        self.patterns = [pattern.build() for pattern in patterns]
        self.use(0)

    @property
    def traits(self) -> Traits:
        """Those of the stack with the pattern in use."""
        return self.stack.traits

    @property
    def embed(self) -> Embed:
        """The stack's."""
        return self.stack.embed

    def use(self, index: int) -> None:
        """From now on, in eval mode and in streams, look by ``patterns[index]``."""
        if not 0 <= index < len(self.patterns):
            raise VariorumError("Lookaheads.use", expected=f"one of {len(self.patterns)} patterns, from 0",
                                found=str(index), do="Choose another.")  # fmt: skip
        self.chosen = index
        self._look(index)

    def forward(self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None) -> Tensor:
        x, layout = self.hidden(inputs, layout, memory)
        return self.stack.head(x, layout)

    def hidden(
        self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Layout | None]:
        self._look(int(torch.randint(len(self.patterns), ())) if self.training else self.chosen)
        found = self.stack.hidden(inputs, layout, memory)
        self._look(self.chosen)
        return found

    def start(self, batch: int) -> State:
        return self.stack.start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        return self.stack.advance(x, state, layout, memory)

    def _look(self, index: int) -> None:
        for part in self.stack.modules():
            if isinstance(part, RelativeAttention):
                part.look(self.patterns[index])
