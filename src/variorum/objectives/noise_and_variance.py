"""Predicting the noise and the variance of the way back. Nichol & Dhariwal 2021, arXiv:2102.09672."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from variorum.core import Loss, Objective, Spec, VariorumError
from variorum.objectives.noise.linear import LinearNoise
from variorum.objectives.noise.schedule import Gaussian, NoiseSchedule, Predicts, like


class Diffused(NamedTuple):
    """What was done to a batch of images: clean and noise (batch, channels, height, width), time (batch,)."""

    clean: Tensor
    noise: Tensor
    time: Tensor


class NoiseAndVariance(Objective):
    """total = sum over numbers of (noise^ - noise)^2 + bits of q(x_{t-1} | x_t, clean) that the answer misses.

    Nichol & Dhariwal 2021, arXiv:2102.09672, with weight 1 for the bound, as in Peebles & Xie 2022, arXiv:2212.09748.
    outputs (batch, 2 * channels, height, width): noise^, and v with log variance = w log beta_t + (1 - w) log of the
    posterior's, w = (v + 1) / 2. The bound does not train noise^. At t = 0 it is the likelihood of clean levels, 256 of
    them from -1 to 1. count = numbers of ``noise``.
    """

    def __init__(self, *, schedule: Spec[NoiseSchedule] = LinearNoise.spec()) -> None:
        super().__init__()
        self.schedule = schedule.build()

    def forward(self, outputs: Tensor, targets: Diffused) -> Loss:
        noise = targets.noise
        if outputs.shape != (noise.shape[0], 2 * noise.shape[1], *noise.shape[2:]):
            raise VariorumError("NoiseAndVariance", expected="twice as many channels as the noise has",
                                found=f"{tuple(outputs.shape)} for {tuple(noise.shape)}",
                                do="Build the head with outputs=2.")  # fmt: skip
        guess, v = outputs.to(torch.promote_types(outputs.dtype, torch.float32)).chunk(2, dim=1)
        count = torch.tensor(noise.numel(), device=noise.device)
        return Loss((guess - noise).square().sum() + self.bits(guess.detach(), v, targets).sum(), count)

    def bits(self, guess: Tensor, v: Tensor, targets: Diffused) -> Tensor:
        """The variational bound's term of each number, in bits, like ``guess``."""
        clean, noise, time = targets
        noised = self.schedule.noised(clean, noise, time)
        true = self.schedule.posterior(clean, noised, time)
        high = like(self.schedule.betas().to(time.device).log()[time], clean)
        share = (v + 1) / 2
        meant = self.schedule.clean(noised, guess, time, Predicts.NOISE)
        mean = self.schedule.posterior(meant, noised, time).mean
        found = Gaussian(mean, share * high + (1 - share) * true.log_variance)
        first = (time == 0).view(-1, *[1] * (clean.dim() - 1))
        return torch.where(first, -log_likelihood(clean, found), divergence(true, found)) / math.log(2)


def divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """KL(p || q), number by number, in nats."""
    ratio = p.log_variance - q.log_variance
    apart = (p.mean - q.mean).square() * (-q.log_variance).exp()
    return (ratio.exp() - 1 - ratio + apart) / 2


def log_likelihood(levels: Tensor, normal: Gaussian) -> Tensor:
    """log of the probability that a normal distribution gives to a level's interval, 256 levels from -1 to 1."""
    scale = (-normal.log_variance / 2).exp()
    above, below = ((levels - normal.mean + side / 255) * scale for side in (1, -1))
    upper, lower = (torch.special.ndtr(side) for side in (above, below))
    least = 1e-12
    inside = (upper - lower).clamp(min=least).log()
    ends = torch.where(levels > 0.999, (1 - lower).clamp(min=least).log(), inside)
    return torch.where(levels < -0.999, upper.clamp(min=least).log(), ends)
