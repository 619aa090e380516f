"""PointNet: the same small network at every point, then the maximum. Qi et al. 2016, arXiv:1612.00593."""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Input, Layout, Skeleton, Traits
from variorum.layers.pools.max import MaxPool


class PointNet(Skeleton):
    """logits = MLP(max_i h(p_i)), h and MLP of layers relu(norm(W x)), norm over a batch: (*points, 3) -> (rows, K).

    Qi et al. 2016, arXiv:1612.00593, figure 2, without the two networks that turn points and features (table 5 of the
    paper: 87.1 % without them, 89.2 % with). The answer does not depend on the order of the points.

    point: widths of h.     row: hidden widths of the classifier.     dropout: before its last layer.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="point clouds")})
    traits: Traits = Traits(batchwise=True)
    examples = ({"classes": 3, "point": (6, 8), "row": (5,)},)

    def __init__(
        self,
        classes: int,
        *,
        point: tuple[int, ...] = (64, 64, 128, 512),
        row: tuple[int, ...] = (128,),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.point = _layers((3, *point))
        self.pool = MaxPool(point[-1])
        self.row = _layers((point[-1], *row))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear((point[-1], *row)[-1], classes)

    def forward(
        self, inputs: Float[Tensor, "*points 3"], layout: Layout | None = None
    ) -> Float[Tensor, "rows classes"]:
        x = self.point(inputs.reshape(-1, 3)).view(*inputs.shape[:-1], self.pool.dim)
        return self.linear(self.dropout(self.row(self.pool(x, layout))))


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    parts: list[nn.Module] = []
    for width, wide in pairwise(widths):
        parts += [nn.Linear(width, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU()]
    return nn.Sequential(*parts)
