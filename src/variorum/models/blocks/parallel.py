"""A block of several branches: each runs layers of its own, then they exchange. Chen et al. 2021, arXiv:2103.14899."""

from collections.abc import Sequence
from typing import ClassVar, cast

from torch import Tensor, nn

from variorum.core import Layer, Layout, Part, Spec, Traits, VariorumError, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.fusions.class_cross import ClassCross
from variorum.layers.fusions.fusion import Fusion
from variorum.layers.mixers.attention import Attention
from variorum.models.blocks.block import Block

_BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())


class Parallel(Part):
    """x_b <- layer_k(... layer_1(x_b)) in each branch b, then (x_1, ..., x_B) <- fusion(x_1, ..., x_B).

    Chen et al. 2021, arXiv:2103.14899, section 3.3. Branch b is ``dims[b]`` wide and holds the layers ``branches[b]``.
    """

    kind: ClassVar[str] = "parallel block"
    examples = (
        {
            "dims": (8, 12),
            "branches": [[_BLOCK], [_BLOCK, _BLOCK]],
            "fusion": ClassCross.spec(mixer=Attention.spec(heads=2)),
        },
    )

    def __init__(self, dims: Sequence[int], *, branches: Sequence[Sequence[Spec[Layer]]], fusion: Spec[Fusion]) -> None:
        super().__init__()
        if len(branches) != len(dims):
            raise VariorumError("Parallel", expected=f"{len(dims)} branches, one for each width",
                                found=f"{len(branches)}", do="Give as many of each.")  # fmt: skip
        self.branches = nn.ModuleList(
            nn.ModuleList(layer.build(dim=dim) for layer in layers) for dim, layers in zip(dims, branches, strict=True)
        )
        self.fusion = fusion.build(dims=tuple(dims))

    @property
    def traits(self) -> Traits:
        """Those of all layers and of the fusion."""
        return promises((*(layer for layers in self._layers() for layer in layers), self.fusion))

    def forward(self, xs: Sequence[Tensor], layouts: Sequence[Layout | None]) -> list[Tensor]:
        mixed = []
        for layers, x, layout in zip(self._layers(), xs, layouts, strict=True):
            for layer in layers:
                x = layer(x, layout)
            mixed.append(x)
        return self.fusion(mixed, layouts)

    def _layers(self) -> list[nn.ModuleList]:
        return cast(list[nn.ModuleList], list(self.branches))
