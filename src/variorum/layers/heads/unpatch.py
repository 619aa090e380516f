"""Tokens of a grid as an image: each gives its square. Peebles & Xie 2022, arXiv:2212.09748."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.layers.grids import to_image


class Unpatch(Head):
    """The ``patch`` x ``patch`` pixels of token t are W x_t + b: (batch, H*W, dim) -> (batch, outputs * channels,
    H * patch, W * patch).

    Peebles & Xie 2022, arXiv:2212.09748. outputs: numbers for each channel of a pixel (2: a mean and a variance), the
    first of all channels first.     zero: W = b = 0 at the start.
    """

    writes = "images"
    traits: Traits = Traits(grid=2, ragged=False)
    examples = ({"patch": 2}, {"patch": 1, "outputs": 2})

    def __init__(self, dim: int, channels: int, *, patch: int, outputs: int = 1, zero: bool = True) -> None:
        super().__init__()
        self.patch = patch
        self.linear = nn.Linear(dim, outputs * channels * patch * patch)
        if zero:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None
    ) -> Float[Tensor, "batch wide height width"]:
        return F.pixel_shuffle(to_image(self.linear(x), layout), self.patch)
