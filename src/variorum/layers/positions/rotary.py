"""Rotary position embedding. Su et al. 2021, arXiv:2104.09864."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Rotation, Traits


class Rotary(Rotation):
    """Turns channel pairs (i, i + d/2) of a head by the angle t * base^(-2i/d). Su et al. 2021, arXiv:2104.09864.

    Halves are paired (as GPT-NeoX and Llama do) instead of neighbours; the two differ by a permutation of channels.
    """

    traits: Traits = Traits(causal=True, streams=True)

    def __init__(self, *, base: float = 10000.0) -> None:
        super().__init__()
        self.base = base

    def forward(
        self, x: Float[Tensor, "*tokens heads head_dim"], positions: Int[Tensor, "*where"]
    ) -> Float[Tensor, "*tokens heads head_dim"]:
        half = x.shape[-1] // 2
        frequency = self.base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
        angle = (positions.unsqueeze(-1) * frequency).unsqueeze(-2)  # (*where, 1, half)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
