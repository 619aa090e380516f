"""A residual connection whose two sides have learned weights. He & Hofmann 2023, arXiv:2311.01906."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Norm, Residual, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.norms.layernorm import LayerNorm


class Weighted(Residual):
    """y = skip * x + gain * f(norm(x)), skip and gain learned numbers. He & Hofmann 2023, arXiv:2311.01906.

    skip, gain: their initial values; without a skip (None) y = gain * f(norm(x)).
    """

    traits: Traits = POINTWISE
    examples = ({"norm": LayerNorm.spec(), "gain": 0.1}, {"norm": LayerNorm.spec(), "skip": None})

    def __init__(self, dim: int, *, norm: Spec[Norm], skip: float | None = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        self.norm = norm.build(dim=dim)
        self.skip = None if skip is None else nn.Parameter(torch.tensor(skip))
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(
        self, x: Float[Tensor, "*tokens dim"], branch: Callable[[Tensor], Tensor], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        y = self.gain * branch(self.norm(x))
        return y if self.skip is None else self.skip * x + y
