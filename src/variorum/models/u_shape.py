"""Down a pyramid and up again, joined at each stage. Ronneberger et al. 2015, arXiv:1505.04597; Cao et al. 2021."""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from torch import Tensor, nn

from variorum.core import (
    Embed,
    Expand,
    Head,
    Layer,
    Layout,
    Memory,
    Merge,
    Norm,
    Spec,
    Tower,
    Traits,
    VariorumError,
    promises,
)
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.expands.patch import PatchExpand
from variorum.layers.heads.segmenter import Segmenter
from variorum.layers.joins.concat import Concat
from variorum.layers.joins.join import Join
from variorum.layers.merges.patch import PatchMerge
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.models.blocks.block import Block

_BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())


class UShape(Tower):
    """head(norm(u_1)), where u_S = e_S and u_s = up_s(join(expand_s(u_s+1), e_s)) come up and e_s went down.

    Ronneberger et al. 2015, arXiv:1505.04597; of Transformer layers: Cao et al. 2021, arXiv:2105.05537. What goes down
    is a pyramid, e_1 = stage_1(embed(inputs)) and e_s+1 = stage_s+1(merge_s(e_s)), stage s ``dims[s]`` wide; merges,
    expands and ups stand in this order too, finest first. What an expansion makes beyond the grid of its stage
    is cut off.
    turn: norm of the coarsest tokens. Blocks are numbered down and then up: ``blocks.0`` ... ``blocks.L-1``.
    """

    examples = (
        {
            "dims": [8, 16],
            "embed": Patches.spec(patch=2),
            "stages": [[_BLOCK], [_BLOCK]],
            "merges": [PatchMerge.spec()],
            "expands": [PatchExpand.spec()],
            "ups": [[_BLOCK]],
            "head": Segmenter.spec(expand=PatchExpand.spec()),
        },
    )

    def __init__(
        self,
        *,
        dims: Sequence[int],
        embed: Spec[Embed],
        stages: Sequence[Sequence[Spec[Layer]]],
        merges: Sequence[Spec[Merge]],
        expands: Sequence[Spec[Expand]],
        ups: Sequence[Sequence[Spec[Layer]]],
        head: Spec[Head],
        join: Spec[Join] = Concat.spec(),
        norm: Spec[Norm] = LayerNorm.spec(),
        turn: Spec[Norm] = NoNorm.spec(),
    ) -> None:
        super().__init__()
        counts = (len(dims), len(stages), len(merges) + 1, len(expands) + 1, len(ups) + 1)
        if not dims or len(set(counts)) > 1:
            raise VariorumError("UShape", expected="a width and a stage for each grid; a merge, an expand and layers "
                                "on the way up for each but the coarsest", do="Make them fit.",
                                found=f"{len(dims)} widths, {len(stages)} stages, {len(merges)} merges, "
                                f"{len(expands)} expands, {len(ups)} times layers up")  # fmt: skip
        self.dims = tuple(dims)
        pairs = list(pairwise(dims))
        self.embed = embed.build(dim=dims[0])
        self.merges = nn.ModuleList(m.build(source=a, dim=b) for m, (a, b) in zip(merges, pairs, strict=True))
        self.expands = nn.ModuleList(e.build(source=b, dim=a) for e, (a, b) in zip(expands, pairs, strict=True))
        self.joins = nn.ModuleList(join.build(dim=dim) for dim, _ in pairs)
        way = [*zip(dims, stages, strict=True), *reversed(list(zip(dims, ups, strict=False)))]
        self.blocks = nn.ModuleList(layer.build(dim=dim) for dim, layers in way for layer in layers)
        self.depths = [len(layers) for _, layers in way]
        self.turn = turn.build(dim=dims[-1])
        self.norm = norm.build(dim=dims[0])
        self.head = head.build(dim=dims[0])

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
        x, layout = self.features(inputs, layout)[0]
        return self.norm(x), layout

    def features(self, inputs: Tensor, layout: Layout | None = None) -> list[tuple[Tensor, Layout | None]]:
        """What comes up at each stage, u_1 ... u_S, finest first, and how it lies."""
        x, layout = self.embed(inputs, layout)
        layers = self._layers()
        kept: list[tuple[Tensor, Layout | None]] = []
        for merge in (None, *self.merges):
            if merge is not None:
                x, layout = merge(x, layout)
            for block in next(layers):
                x = block(x, layout)
            kept.append((x, layout))
        found = [(self.turn(x), layout)]
        for s in reversed(range(len(self.expands))):
            skip, layout = kept[s]
            finer, lies = self.expands[s](*found[0])
            x = self.joins[s](cut(finer, lies, layout), skip)
            for block in next(layers):
                x = block(x, layout)
            found.insert(0, (x, layout))
        return found

    def _layers(self) -> Iterator[list[nn.Module]]:
        """The layers of each stage on the way down, then up."""
        blocks = iter(self.blocks)
        return (list(islice(blocks, depth)) for depth in self.depths)


def cut(x: Tensor, layout: Layout | None, to: Layout | None) -> Tensor:
    """The tokens of one grid that lie on a smaller one too: (batch, n, dim) -> (batch, m, dim)."""
    if layout is None or layout.grid is None or to is None or to.grid is None or layout.grid == to.grid:
        return x
    return x.unflatten(1, layout.grid)[(slice(None), *(slice(side) for side in to.grid))].flatten(1, -2)
