"""Points of a scene, gathered in upright pillars of a map. Lang et al. 2018, arXiv:1812.05784."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Norm, Spec, Traits, VariorumError
from variorum.layers.norms.layernorm import LayerNorm


class Pillars(Embed):
    """y_c = max over the points p in cell c of relu(norm(W [p, p - mean of c, p - centre of c])).

    Lang et al. 2018, arXiv:1812.05784, without a limit of points or of pillars (Zhou et al. 2019, arXiv:1910.06528).
    points (batch, n, channels), or packed, of which the first two numbers are x from 0 to ``width`` and y from 0 to
    ``height`` in cells -> packed (pillars, dim), those of a row by y, then x, with ``layout.coords`` (x, y) of the
    cell. Points beyond the map are left out. The mean is of x, y and the third number; the centre of x and y.
    """

    reads = "points"
    traits: Traits = Traits(exports=False)

    def __init__(
        self, dim: int, channels: int, height: int, width: int, *, norm: Spec[Norm] = LayerNorm.spec()
    ) -> None:
        super().__init__()
        if channels < 3:
            raise VariorumError("Pillars channels", expected="three numbers of a point at least: x, y, z",
                                found=str(channels), do="Give points in space.")  # fmt: skip
        self.height, self.width = height, width
        self.linear = nn.Linear(channels + 5, dim, bias=False)
        self.norm = norm.build(dim=dim)

    def forward(
        self, inputs: Float[Tensor, "*points channels"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "pillars dim"], Layout]:
        if layout is not None and layout.packed:
            rows, row_of, points = len(layout.lengths), layout.row_of, inputs
        else:
            rows, n = inputs.shape[:2]
            row_of, points = torch.arange(rows, device=inputs.device).repeat_interleave(n), inputs.flatten(0, 1)
        cell = points[:, :2].floor().long()
        inside = ((cell >= 0) & (cell < cell.new_tensor([self.width, self.height]))).all(dim=1)
        points, cell, row_of = points[inside], cell[inside], row_of[inside]
        key = (row_of * self.height + cell[:, 1]) * self.width + cell[:, 0]
        found, pillar, counts = key.unique(return_inverse=True, return_counts=True)
        xyz = points[:, :3]
        mean = xyz.new_zeros(len(found), 3).index_add(0, pillar, xyz) / counts[:, None]
        told = torch.cat([points, xyz - mean[pillar], points[:, :2] - cell - 0.5], dim=1)
        features = F.relu(self.norm(self.linear(told)))
        tallest = features.new_zeros(len(found), features.shape[1])
        tallest = tallest.scatter_reduce(0, pillar[:, None].expand_as(features), features, "amax", include_self=False)
        place = torch.stack([found % self.width, found // self.width % self.height], dim=1)
        lengths = torch.bincount(found // (self.width * self.height), minlength=rows)
        return tallest, Layout.ragged(lengths, coords=place.to(inputs.dtype))
