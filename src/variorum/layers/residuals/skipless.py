"""A branch without a connection around it. Charpentier & Samuel 2023, arXiv:2311.02265."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Norm, Residual, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.norms.layernorm import LayerNorm


class Skipless(Residual):
    """y = dropout(f(norm(x))): the branch replaces the stream. Charpentier & Samuel 2023, arXiv:2311.02265."""

    traits: Traits = POINTWISE
    examples = ({"norm": LayerNorm.spec()},)

    def __init__(self, dim: int, *, norm: Spec[Norm], dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = norm.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], branch: Callable[[Tensor], Tensor], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self.dropout(branch(self.norm(x)))
