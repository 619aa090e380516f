"""A class for every cell of the raw grid: pixel or voxel. Cao et al. 2021, arXiv:2105.05537."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Expand, Head, Layout, Spec, Traits, VariorumError
from variorum.layers.expands.patch import PatchExpand


class Segmenter(Head):
    """logits = W y, y = expand(x): (batch, n, dim) with a grid -> (batch, *cells, classes).

    Cao et al. 2021, arXiv:2105.05537; Wu et al. 2022, arXiv:2201.00462. ``expand`` undoes the embed's patches; where
    the layout says the ``extent`` of the raw grid, what lies beyond is cut off.
    """

    writes = "cell class"
    examples = ({"expand": PatchExpand.spec(patch=(2, 3))}, {"expand": PatchExpand.spec(patch=(1, 2, 2))})

    def __init__(self, dim: int, classes: int, *, expand: Spec[Expand], bias: bool = True) -> None:
        super().__init__()
        self.expand = expand.build(source=dim, dim=dim)
        self.linear = nn.Linear(dim, classes, bias=bias)

    @property
    def traits(self) -> Traits:
        """Those of the expansion."""
        return self.expand.traits

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None
    ) -> Float[Tensor, "batch *cells classes"]:
        y, finer = self.expand(x, layout)
        if finer is None or finer.grid is None:
            raise VariorumError("layout", expected="a grid of cells", found=str(finer), do="Pass Layout(grid=...).")
        cells = self.linear(y).unflatten(1, finer.grid)
        extent = finer.grid if layout is None or layout.extent is None else layout.extent
        return cells[(slice(None), *(slice(side) for side in extent))]
