"""Rotary positions whose slow channel pairs alone are slowed further. Grattafiori et al. 2024, arXiv:2407.21783."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.positions.turning import Turning, geometric


class ByWavelengthRotary(Turning):
    """Rotary whose frequency f_i becomes f_i * (s_i + (1 - s_i) / factor).

    s_i = (trained * f_i / 2 pi - slow) / (fast - slow), held within 0 and 1: channel pairs that turn round at least
    ``fast`` times in a row of ``trained`` positions stay as they are, those that turn round at most ``slow`` times are
    interpolated, and between the two it goes over by the number of turns. The models of Grattafiori et al. 2024,
    arXiv:2407.21783, from 3.1 on; their report tells only of longer rows, the formula is that of the released code.
    """

    examples = ({"trained": 64, "factor": 8.0},)

    def __init__(
        self, *, trained: int, factor: float, slow: float = 1.0, fast: float = 4.0, base: float = 10000.0
    ) -> None:
        super().__init__()
        if trained < 1 or not factor > 0 or not 0 < slow < fast:
            raise VariorumError("ByWavelengthRotary",
                                expected="a length of 1 or more, a factor above 0 and 0 < slow < fast",
                                found=f"trained {trained}, factor {factor}, slow {slow}, fast {fast}",
                                do="Choose others.")  # fmt: skip
        self.trained, self.factor, self.slow, self.fast, self.base = trained, factor, slow, fast, base

    def frequencies(self, head_dim: int, device: torch.device) -> Float[Tensor, "half"]:
        """f_i * (s_i + (1 - s_i) / factor)."""
        plain = geometric(self.base, head_dim // 2, device)
        return plain * self.shares(plain)

    def shares(self, plain: Float[Tensor, "half"]) -> Float[Tensor, "half"]:
        """What is left of each frequency, between 1 / factor and 1."""
        turns = self.trained * plain / (2 * math.pi)
        kept = ((turns - self.slow) / (self.fast - self.slow)).clamp(0, 1)
        return torch.lerp(torch.full_like(kept, 1 / self.factor), torch.ones_like(kept), kept)
