"""Channels mixed by one projection. Wang et al. 2024, arXiv:2410.23168: the feed-forward part of TokenFormer."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Channel, Projection, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.projections.pattention import Pattention


class Projected(Channel):
    """y = dropout(projection(x)). Wang et al. 2024, arXiv:2410.23168."""

    traits: Traits = POINTWISE
    examples = ({"projection": Pattention.spec(slots=6)},)

    def __init__(self, dim: int, *, projection: Spec[Projection], dropout: float = 0.0) -> None:
        super().__init__()
        self.projection = projection.build(source=dim, dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return self.dropout(self.projection(x))
