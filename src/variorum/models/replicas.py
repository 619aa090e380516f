"""Several towers over the same tokens, each over half as many as the one before. Zhou et al. 2020, arXiv:2012.07436."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from variorum.core import Embed, Layout, Memory, Spec, Tower, Traits, VariorumError, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.given import Given
from variorum.layers.embed.series import SeriesEmbed
from variorum.layers.heads.features import Features
from variorum.layers.merges.distill import Distill
from variorum.layers.mixers.probsparse import ProbSparse
from variorum.models.blocks.block import Block
from variorum.models.pyramid import Pyramid

_BLOCK = Block.spec(mixer=ProbSparse.spec(heads=2), channels=MLP.spec())
_DEEP = Pyramid.spec(
    dims=(16, 16), embed=Given.spec(), stages=[[_BLOCK], [_BLOCK]], merges=[Distill.spec()], head=Features.spec()
)


class Replicas(Tower):
    """[tower_0(x); tower_1(last half of x); tower_2(last quarter of x); ...], concatenated along the row.

    Zhou et al. 2020, arXiv:2012.07436: replicas of the distilling encoder on halved inputs, each a layer shorter, so
    that their outputs are as long. The towers embed nothing (``Given``).
    """

    examples = ({"embed": SeriesEmbed.spec(), "towers": [_DEEP, _DEEP.replace("stages[1]", ())]},)

    def __init__(self, dim: int, *, embed: Spec[Embed], towers: Sequence[Spec[Tower]]) -> None:
        super().__init__()
        self.embed = embed.build(dim=dim)
        self.towers = nn.ModuleList(tower.build(dim=dim) for tower in towers)

    @property
    def traits(self) -> Traits:
        """The promises of embed and towers one after the other."""
        return promises((self.embed, *self.towers)).but(causal=False, streams=False, equivariant=False, ragged=False)

    def forward(self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None) -> Tensor:
        return self.hidden(inputs, layout, memory)[0]

    def hidden(
        self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Layout | None]:
        x, layout = self.embed(inputs, layout)
        n, least = x.shape[1], 2 ** (len(self.towers) - 1)
        if n < least:
            raise VariorumError("Replicas", expected=f"rows of at least {least} tokens, one for the last of the towers",
                                found=f"{n}", do="Pass longer rows or use fewer towers.")  # fmt: skip
        parts = [tower(x[:, n - n // 2**i :]) for i, tower in enumerate(self.towers)]
        return torch.cat(parts, dim=1), None
