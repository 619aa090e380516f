"""Noise that destroys evenly. Nichol & Dhariwal 2021, arXiv:2102.09672."""

import math

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.objectives.noise.schedule import NoiseSchedule


class CosineNoise(NoiseSchedule):
    """a_t = f(t + 1) / f(0), f(t) = cos^2(pi/2 (t / steps + s) / (1 + s)); no beta is above ``most``.

    Nichol & Dhariwal 2021, arXiv:2102.09672: s = 0.008, most = 0.999.
    """

    def __init__(self, *, steps: int = 1000, s: float = 0.008, most: float = 0.999) -> None:
        if steps < 1 or s < 0 or not 0 < most < 1:
            raise VariorumError("CosineNoise", expected="one step at least, s not below 0, and most between 0 and 1",
                                found=f"steps {steps}, s {s}, most {most}", do="Choose others.")  # fmt: skip
        self.steps, self.s, self.most = steps, s, most

    def betas(self) -> Tensor:
        at = torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
        kept = (math.pi / 2 * (at + self.s) / (1 + self.s)).cos().square()
        return (1 - kept[1:] / kept[:-1]).clamp(max=self.most)
