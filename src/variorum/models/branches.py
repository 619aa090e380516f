"""Branches that look at the same input in different ways, and exchange what they find. Chen et al. 2021."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from variorum.core import Embed, Head, Input, Layout, Norm, Skeleton, Spec, Traits, VariorumError, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.patches import Patches
from variorum.layers.fusions.class_cross import ClassCross
from variorum.layers.heads.classifier import Classifier
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.first import FirstToken
from variorum.models.blocks.block import Block
from variorum.models.blocks.parallel import Parallel

_BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
_PARALLEL = Parallel.spec(
    branches=[[_BLOCK], [_BLOCK, _BLOCK]], fusion=ClassCross.spec(mixer=Attention.spec(heads=2))
)  # fmt: skip


class Branches(Skeleton):
    """mean_b head_b(norm_b(x_b)), x = block_K(... block_1(embed_1(inputs), ..., embed_B(inputs))).

    Chen et al. 2021, arXiv:2103.14899. Branch b is ``dims[b]`` wide; a block holds layers of every branch and the
    fusion after them. Each branch has a norm and a head of its own; their answers are averaged.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("embeds[0]")})
    examples = (
        {
            "dims": (8, 12),
            "embeds": [ClassToken.spec(embed=Patches.spec(patch=2)), ClassToken.spec(embed=Patches.spec(patch=4))],
            "blocks": [_PARALLEL] * 2,
            "head": Classifier.spec(pool=FirstToken.spec()),
        },
    )

    def __init__(
        self,
        *,
        dims: Sequence[int],
        embeds: Sequence[Spec[Embed]],
        blocks: Sequence[Spec[Parallel]],
        head: Spec[Head],
        norm: Spec[Norm] = LayerNorm.spec(),
    ) -> None:
        super().__init__()
        if not dims or len(embeds) != len(dims):
            raise VariorumError("Branches", expected="an embed for each width", found=f"{len(dims)} and {len(embeds)}",
                                do="Give as many of each.")  # fmt: skip
        self.embeds = nn.ModuleList(embed.build(dim=dim) for embed, dim in zip(embeds, dims, strict=True))
        self.blocks = nn.ModuleList(block.build(dims=tuple(dims)) for block in blocks)
        self.norms = nn.ModuleList(norm.build(dim=dim) for dim in dims)
        self.heads = nn.ModuleList(head.build(dim=dim) for dim in dims)

    @property
    def traits(self) -> Traits:
        """The promises of embeds, blocks and heads one after the other."""
        return promises((*self.embeds, *self.blocks, *self.heads)).but(
            causal=False, streams=False, equivariant=False, ragged=False
        )

    def forward(self, inputs: Tensor, layout: Layout | None = None) -> Tensor:
        found = self.features(inputs, layout)
        answers = [head(x, lies) for head, (x, lies) in zip(self.heads, found, strict=True)]
        return torch.stack(answers).mean(dim=0)

    def features(self, inputs: Tensor, layout: Layout | None = None) -> list[tuple[Tensor, Layout | None]]:
        """The tokens of each branch that its head is given, and how they lie."""
        embedded = [embed(inputs, layout) for embed in self.embeds]
        xs, layouts = [x for x, _ in embedded], [lies for _, lies in embedded]
        for block in self.blocks:
            xs = block(xs, layouts)
        return [(norm(x), lies) for norm, x, lies in zip(self.norms, xs, layouts, strict=True)]
