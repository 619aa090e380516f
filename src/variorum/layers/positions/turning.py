"""Rotations whose channel pairs turn at fixed speeds. Su et al. 2021, arXiv:2104.09864."""

from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Rotation, Traits


class Turning(Rotation, abstract=True):
    """Turns channel pairs (i, i + d/2) of a head by the angle t * f_i, and makes all ``size`` times as large.

    Su et al. 2021, arXiv:2104.09864. Halves are paired (as GPT-NeoX and Llama do) instead of neighbours; the two differ
    by a permutation of channels. Channels behind the d that have a frequency only change their size.
    """

    traits: Traits = Traits(causal=True, streams=True)
    size: float = 1.0

    @abstractmethod
    def frequencies(self, head_dim: int, device: torch.device) -> Float[Tensor, "half"]:
        """f_i: the angle of each channel pair from one position to the next."""

    def forward(
        self, x: Float[Tensor, "*tokens heads head_dim"], positions: Int[Tensor, "*where"]
    ) -> Float[Tensor, "*tokens heads head_dim"]:
        out = turned_by(x, positions, self.frequencies(x.shape[-1], x.device))
        return out if self.size == 1 else out * self.size


def geometric(base: float, half: int, device: torch.device) -> Tensor:
    """base^(-i/half) for i < half."""
    return base ** (-torch.arange(half, device=device, dtype=torch.float32) / half)


def turned_by(x: Tensor, positions: Tensor, frequency: Tensor) -> Tensor:
    """Channel pairs (i, i + half) of x (*tokens, heads, head_dim) turned by t * frequency_i, half of them in number."""
    half = len(frequency)
    angle = (positions.unsqueeze(-1) * frequency).unsqueeze(-2)  # (*where, 1, half)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)
