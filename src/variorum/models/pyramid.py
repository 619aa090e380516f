"""Stages of blocks on ever coarser grids with ever wider tokens. Liu et al. 2021, arXiv:2103.14030."""

from collections.abc import Sequence

from torch import Tensor, nn

from variorum.core import Embed, Head, Layer, Layout, Memory, Merge, Norm, Spec, Tower, Traits, VariorumError, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.models.blocks.block import Block

_BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())


class Pyramid(Tower):
    """head(norm(stage_S(merge(... stage_1(embed(inputs)))))), the tokens of stage s ``dims[s]`` wide.

    Blocks are numbered through all stages: ``blocks.0`` ... ``blocks.L-1``; ``merges.s`` stands before stage s + 1.
    stage_norm: at the end of every stage, before its tokens are merged or shown (Wang et al. 2021, arXiv:2106.13797).
    """

    examples = (
        {
            "dims": [8, 16],
            "embed": Patches.spec(patch=2),
            "stages": [[_BLOCK], [_BLOCK]],
            "merges": [ConvMerge.spec()],
            "head": Classifier.spec(),
        },
    )

    def __init__(
        self,
        *,
        dims: Sequence[int],
        embed: Spec[Embed],
        stages: Sequence[Sequence[Spec[Layer]]],
        merges: Sequence[Spec[Merge]],
        head: Spec[Head],
        norm: Spec[Norm] = LayerNorm.spec(),
        stage_norm: Spec[Norm] = NoNorm.spec(),
    ) -> None:
        super().__init__()
        if not dims or not len(dims) == len(stages) == len(merges) + 1:
            raise VariorumError("Pyramid", expected="a width for each stage and a merge between any two",
                                found=f"{len(dims)} widths, {len(stages)} stages, {len(merges)} merges",
                                do="Give dims and stages of one length, merges of one less.")  # fmt: skip
        self.embed = embed.build(dim=dims[0])
        widths = [dim for dim, blocks in zip(dims, stages, strict=True) for _ in blocks]
        flat = [block for blocks in stages for block in blocks]
        self.blocks = nn.ModuleList(block.build(dim=dim) for dim, block in zip(widths, flat, strict=True))
        steps = zip(merges, dims, dims[1:], strict=False)
        self.merges = nn.ModuleList(merge.build(source=source, dim=dim) for merge, source, dim in steps)
        self.depths = [len(blocks) for blocks in stages]
        self.norms = nn.ModuleList(stage_norm.build(dim=dim) for dim in dims)
        self.norm = norm.build(dim=dims[-1])
        self.head = head.build(dim=dims[-1])

    @property
    def traits(self) -> Traits:
        """The promises of embed, blocks and head one after the other."""
        return promises((self.embed, *self.blocks, self.head)).but(
            causal=False, streams=False, equivariant=False, ragged=False
        )

    def forward(self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None) -> Tensor:
        x, layout = self.hidden(inputs, layout, memory)
        return self.head(x, layout)

    def hidden(
        self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Layout | None]:
        x, layout = self.features(inputs, layout)[-1]
        return self.norm(x), layout

    def features(self, inputs: Tensor, layout: Layout | None = None) -> list[tuple[Tensor, Layout | None]]:
        """The tokens after each stage, finest first, and how they lie."""
        x, layout = self.embed(inputs, layout)
        found, first = [], 0
        for stage, depth in enumerate(self.depths):
            if stage:
                x, layout = self.merges[stage - 1](x, layout)
            for block in self.blocks[first : first + depth]:
                x = block(x, layout)
            first += depth
            x = self.norms[stage](x)
            found.append((x, layout))
        return found
