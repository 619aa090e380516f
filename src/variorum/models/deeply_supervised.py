"""A decoder that answers at coarser grids too while it learns. Lee et al. 2014, arXiv:1409.5185."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor, nn

from variorum.core import Answers, Head, Input, Layout, Skeleton, Spec, Traits, VariorumError
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.expands.patch import PatchExpand
from variorum.layers.heads.segmenter import Segmenter
from variorum.layers.merges.patch import PatchMerge
from variorum.layers.mixers.attention import Attention
from variorum.models.blocks.block import Block
from variorum.models.u_shape import UShape

_BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
_HEAD = Segmenter.spec(expand=PatchExpand.spec())
_U = UShape.spec(
    dims=[8, 16], embed=Patches.spec(patch=2), stages=[[_BLOCK], [_BLOCK]], merges=[PatchMerge.spec()],
    expands=[PatchExpand.spec()], ups=[[_BLOCK]], head=_HEAD,
)  # fmt: skip


class DeeplySupervised(Skeleton):
    """In training the model's answer and those of ``heads`` at its next coarser stages; else the model's answer alone.

    Lee et al. 2014, arXiv:1409.5185; Isensee et al. 2018, arXiv:1809.10486 (nnU-Net): the loss of stage s counts
    decay^s, in proportion, and is taken on that stage's grid, to which the objective brings the targets. What is used
    after training is ``model``; the heads can be thrown away.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("model.embed")})
    examples = ({"model": _U, "heads": [_HEAD]},)

    def __init__(self, *, model: Spec[UShape], heads: Sequence[Spec[Head]], decay: float = 0.5) -> None:
        super().__init__()
        self.model = model.build()
        coarser = self.model.dims[1:]
        if not 0 < len(heads) <= len(coarser) or decay <= 0:
            raise VariorumError("DeeplySupervised", expected=f"1 to {len(coarser)} heads and a decay above 0",
                                found=f"{len(heads)} heads, decay {decay}",
                                do="Give a head for each coarser stage that is to answer.")  # fmt: skip
        self.heads = nn.ModuleList(head.build(dim=dim) for head, dim in zip(heads, coarser, strict=False))
        powers = [decay**s for s in range(len(heads) + 1)]
        self.weights = tuple(power / sum(powers) for power in powers)

    @property
    def traits(self) -> Traits:
        """Those of the model."""
        return self.model.traits

    def forward(self, inputs: Tensor, layout: Layout | None = None) -> Tensor | Answers:
        if not self.training:
            return self.model(inputs, layout)
        (x, lies), *coarser = self.model.features(inputs, layout)
        others = (head(*found) for head, found in zip(self.heads, coarser, strict=False))
        return Answers((self.model.head(self.model.norm(x), lies), *others), self.weights)
