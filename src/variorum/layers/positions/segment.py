"""A learned vector for each segment of a row. Devlin et al. 2018, arXiv:1810.04805."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Position, Traits


class Segment(Position):
    """y_t = x_t + W_s[segment_t], segments from the layout; without segments every token is of segment 0.

    Devlin et al. 2018, arXiv:1810.04805 (token types). kinds: number of segments.    std: of the normal initial values.
    """

    traits: Traits = Traits(causal=True, streams=True)

    def __init__(self, dim: int, *, kinds: int = 2, std: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kinds, dim))
        nn.init.normal_(self.weight, std=std)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        if layout is None or layout.segments is None:
            return x + self.weight[0]
        return x + self.weight[layout.segments]
