"""Patch expanding: each token becomes a box of tokens. Cao et al. 2021, arXiv:2105.05537."""

from collections.abc import Sequence
from itertools import chain

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Expand, Layout, Norm, Spec, Traits, VariorumError
from variorum.layers.grids import sides
from variorum.layers.norms.layernorm import LayerNorm


class PatchExpand(Expand):
    """[y_1; ...; y_k] = W x, each y_j normed, laid out as a box of sides ``patch`` where x was, k cells in all.

    Cao et al. 2021, arXiv:2105.05537; in volumes Wu et al. 2022, arXiv:2201.00462. (batch, n, source) with a grid ->
    (batch, k * n, dim), the grid's sides multiplied by those of the patch, of which there is one for each axis.
    """

    examples = ({"patch": (2, 2)}, {"patch": (1, 2, 3)})

    def __init__(
        self, source: int, dim: int, *, patch: Sequence[int] = (2, 2), norm: Spec[Norm] = LayerNorm.spec()
    ) -> None:
        super().__init__()
        if not patch or min(patch) < 1:
            raise VariorumError("PatchExpand patch", expected="a side for each axis of the grid, at least 1",
                                found=str(tuple(patch)), do="Give such as (2, 2).")  # fmt: skip
        self.patch = tuple(patch)
        cells = 1
        for side in self.patch:
            cells *= side
        self.expand = nn.Linear(source, cells * dim, bias=False)
        self.norm = norm.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """It needs a grid."""
        return Traits(grid=len(self.patch), ragged=False)

    def forward(
        self, x: Float[Tensor, "batch n source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch m dim"], Layout | None]:
        grid, axes = sides(layout, len(self.patch)), len(self.patch)
        boxes = self.expand(x).unflatten(-1, (*self.patch, -1)).unflatten(1, grid)
        turned = boxes.permute(0, *chain(*((1 + a, 1 + axes + a) for a in range(axes))), -1)
        finer = tuple(side * more for side, more in zip(grid, self.patch, strict=True))
        return self.norm(turned.flatten(1, -2)), Layout(grid=finer)
