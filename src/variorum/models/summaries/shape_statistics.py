"""Shape distributions of a cloud of points. Osada et al. 2002, "Shape distributions", ACM Trans. Graphics 21(4)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Growth, Input, Layout, Traits, pool_rows
from variorum.models.summaries.summary import Summary


class ShapeStatistics(Summary):
    """(*points, 3) -> (rows, 18 + 2 bins).

    Mean, least and largest of each axis, the six second moments and the three mean absolute values; and how many of
    the distances to the centre (D1 of Osada et al. 2002) and between two points (D2, here of all pairs) lie below
    1/bins, 2/bins, ... of 1 and of 2, the largest that there can be in a ball of radius 1.
    """

    reads = "point clouds"
    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads=reads)})
    traits: Traits = Traits(bounded=True, growth=Growth.QUADRATIC)

    def __init__(self, *, bins: int = 16) -> None:
        super().__init__()
        self.bins, self.count = bins, 18 + 2 * bins

    def learn(self, rows: Sequence[Tensor], seed: int) -> None:
        """Nothing is learned."""
        return None

    def forward(self, inputs: Float[Tensor, "*points 3"], layout: Layout | None = None) -> Float[Tensor, "rows count"]:
        return pool_rows(self._statistics, layout, inputs)

    def _statistics(self, rows: Tensor) -> Tensor:
        """(batch, n, 3) -> (batch, count)."""
        edge = torch.arange(1, self.bins + 1, device=rows.device, dtype=rows.dtype) / self.bins
        centre = rows.mean(dim=1)
        moments = (rows.unsqueeze(3) * rows.unsqueeze(2)).mean(dim=1)
        second = moments[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
        near = rows.square().sum(dim=2).sqrt()
        apart = (rows.unsqueeze(2) - rows.unsqueeze(1)).square().sum(dim=3).sqrt().flatten(1)
        told = [(distance.unsqueeze(2) < limit).to(rows.dtype).mean(dim=1)
                for distance, limit in ((near, edge), (apart, 2 * edge))]  # fmt: skip
        found = [centre, rows.amin(dim=1), rows.amax(dim=1), second, rows.abs().mean(dim=1), *told]
        return torch.cat(found, dim=1)
