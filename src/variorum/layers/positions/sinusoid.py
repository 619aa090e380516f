"""Fixed sinusoidal positions. Vaswani et al. 2017, arXiv:1706.03762, section 3.5."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Position, Traits
from variorum.core.layout import positions


class Sinusoid(Position):
    """y_t = x_t + p_t, p_t[2i] = sin(t / base^(2i/dim)), p_t[2i+1] = cos(t / base^(2i/dim)).

    Vaswani et al. 2017, arXiv:1706.03762. Any length; an odd ``dim`` drops the last cosine.
    """

    traits: Traits = Traits(causal=True, streams=True)

    def __init__(self, dim: int, *, base: float = 10000.0) -> None:
        super().__init__()
        self.dim, self.base = dim, base

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        return x + sinusoid(positions(x, layout), self.dim, self.base).to(x.dtype)


def sinusoid(where: Tensor, dim: int, base: float = 10000.0) -> Tensor:
    """(*tokens) positions -> (*tokens, dim) sines and cosines, interleaved."""
    even = torch.arange(0, dim, 2, device=where.device)
    angle = where.unsqueeze(-1) * torch.exp(even * (-math.log(base) / dim))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., :dim]
