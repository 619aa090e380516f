"""A learned score for each offset within a square window. Liu et al. 2021, arXiv:2103.14030."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import ScoreBias, Traits


class WindowBias(ScoreBias):
    """B[h, i, j] = T[row_i - row_j, column_i - column_j, h] for places i = row * window + column.

    Liu et al. 2021, arXiv:2103.14030, equation 4. A greater offset than the window has counts as the greatest.
    std: of the normal initial values.
    """

    traits: Traits = Traits()
    examples = ({"window": 4},)

    def __init__(self, heads: int, window: int, *, std: float = 0.02) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.normal_(self.table, std=std)

    def forward(
        self, queries: Int[Tensor, "*rows n"], keys: Int[Tensor, "*rows m"]
    ) -> Float[Tensor, "*rows heads n m"]:
        most = self.window - 1

        def offset(q: Tensor, k: Tensor) -> Tensor:
            return (q.unsqueeze(-1) - k.unsqueeze(-2)).clamp(-most, most) + most

        down = offset(queries // self.window, keys // self.window)
        across = offset(queries % self.window, keys % self.window)
        return self.table[down * (2 * most + 1) + across].movedim(-1, -3)
