"""Noise whose variance grows evenly. Ho et al. 2020, arXiv:2006.11239."""

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.objectives.noise.schedule import NoiseSchedule


class LinearNoise(NoiseSchedule):
    """beta_t from ``first`` to ``last`` in even steps. Ho et al. 2020, arXiv:2006.11239: 1,000 steps, 1e-4 to 0.02."""

    def __init__(self, *, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> None:
        if steps < 1 or not 0 < first <= last < 1:
            raise VariorumError("LinearNoise", expected="one step at least, and 0 < first <= last < 1",
                                found=f"steps {steps}, first {first}, last {last}", do="Choose others.")  # fmt: skip
        self.steps, self.first, self.last = steps, first, last

    def betas(self) -> Tensor:
        return torch.linspace(self.first, self.last, self.steps, dtype=torch.float64)
