"""Where on a map objects have their centres. Zhou et al. 2019, arXiv:1904.07850; Yin et al. 2020, arXiv:2006.11275."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.layers.positions.places import coordinates


class CentreMap(Head):
    """scores = W_2 * relu(norm(W_1 * map) ...) of a map onto which each token is put at its cell, zeros elsewhere.

    Zhou et al. 2019, arXiv:1904.07850; of a bird's-eye view: Yin et al. 2020, arXiv:2006.11275. x (*tokens, dim) with
    ``layout.coords`` (x, y) -> (rows, classes, height, width) logits that a centre is in this cell. W are 3 x 3
    convolutions, ``depth`` of them before the last; the norm is over all channels and cells of one map. The last one's
    bias starts at the odds of ``prior`` (Lin et al. 2017, arXiv:1708.02002).
    """

    writes = "centres"
    traits: Traits = Traits(coords=2, exports=False)

    def __init__(self, dim: int, classes: int, height: int, width: int, *, depth: int = 1, prior: float = 0.01) -> None:
        super().__init__()
        self.height, self.width = height, width
        inner: list[nn.Module] = []
        for _ in range(depth):
            inner += [nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.GroupNorm(1, dim), nn.ReLU()]
        self.inner = nn.Sequential(*inner)
        self.last = nn.Conv2d(dim, classes, 3, padding=1)
        if self.last.bias is not None:
            nn.init.constant_(self.last.bias, math.log(prior / (1 - prior)))

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None
    ) -> Float[Tensor, "rows classes height width"]:
        return self.last(self.inner(scatter(x, layout, self.height, self.width)))


def scatter(x: Tensor, layout: Layout | None, height: int, width: int) -> Tensor:
    """(*tokens, dim) at the cells that ``layout.coords`` (x, y) says -> (rows, dim, height, width), zeros elsewhere.

    Tokens in one cell are added up; those beyond the map are left out.
    """
    cell = coordinates(layout, 2).reshape(-1, 2).floor().long()
    if layout is not None and layout.packed:
        rows, row_of = len(layout.lengths), layout.row_of
    else:
        rows = x.shape[0]
        row_of = torch.arange(rows, device=x.device).repeat_interleave(x.shape[1])
    inside = ((cell >= 0) & (cell < cell.new_tensor([width, height]))).all(dim=1)
    place = ((row_of * height + cell[:, 1]) * width + cell[:, 0])[inside]
    tokens = x.reshape(-1, x.shape[-1])[inside]
    flat = x.new_zeros(rows * height * width, x.shape[-1]).index_add(0, place, tokens)
    return flat.view(rows, height, width, x.shape[-1]).permute(0, 3, 1, 2)
