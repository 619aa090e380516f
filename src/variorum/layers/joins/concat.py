"""Side by side, then a linear map back to one width. Ronneberger et al. 2015, arXiv:1505.04597; Cao et al. 2021."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Traits
from variorum.core.traits import POINTWISE
from variorum.layers.joins.join import Join


class Concat(Join):
    """y = W [x; skip] + b. Ronneberger et al. 2015, arXiv:1505.04597; Cao et al. 2021, arXiv:2105.05537."""

    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, x: Float[Tensor, "*any dim"], skip: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return self.linear(torch.cat([x, skip], dim=-1))
