"""A norm whose output is dropped out. Raffel et al. 2020, arXiv:1910.10683."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Norm, Spec, Traits
from variorum.layers.norms.layernorm import LayerNorm


class DroppedNorm(Norm):
    """y = dropout(norm(x)): T5 drops what its stacks give. Raffel et al. 2020, arXiv:1910.10683."""

    def __init__(self, dim: int, *, norm: Spec[Norm] = LayerNorm.spec(), dropout: float = 0.1) -> None:
        super().__init__()
        self.norm = norm.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    @property
    def traits(self) -> Traits:
        """Those of the norm."""
        return self.norm.traits

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return self.dropout(self.norm(x))
