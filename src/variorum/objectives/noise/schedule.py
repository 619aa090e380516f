"""What a noise schedule is, and the arithmetic of Gaussian diffusion. Ho et al. 2020, arXiv:2006.11239."""

from abc import abstractmethod
from enum import StrEnum
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from variorum.core import Registered, VariorumError


class Gaussian(NamedTuple):
    """A normal distribution of images, number by number; ``log_variance`` may broadcast."""

    mean: Tensor
    log_variance: Tensor


class Predicts(StrEnum):
    """What a model is asked for: the noise, the clean data, or v = sqrt(a) noise - sqrt(1 - a) clean."""

    NOISE = "noise"
    CLEAN = "clean"
    VELOCITY = "velocity"


class NoiseSchedule(Registered, abstract=True):
    """x_t = sqrt(a_t) clean + sqrt(1 - a_t) noise for t = 0 ... steps - 1, a_t = prod_{s <= t} (1 - beta_s).

    Ho et al. 2020, arXiv:2006.11239. A schedule says its betas; the rest follows.
    """

    kind: ClassVar[str] = "noise schedule"
    steps: int

    @abstractmethod
    def betas(self) -> Tensor:
        """(steps,) variances of the noise that each step adds, in double precision."""

    def kept(self, time: Tensor) -> Tensor:
        """a_t of times (...,): the part of the variance that is still signal. Times outside raise VariorumError."""
        if time.numel() and not 0 <= int(time.min()) <= int(time.max()) < self.steps:
            raise VariorumError("time", expected=f"steps from 0 to {self.steps - 1}",
                                found=f"{int(time.min())} to {int(time.max())}",
                                do="Draw times below the schedule's steps.")  # fmt: skip
        return (1 - self.betas()).cumprod(0).to(time.device)[time]

    def noised(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """x_t of (batch, ...) data, noise like them and times (batch,)."""
        kept = like(self.kept(time), clean)
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, time: Tensor, predicts: Predicts) -> Tensor:
        """What the model is asked for."""
        if predicts is Predicts.VELOCITY:
            kept = like(self.kept(time), clean)
            return kept.sqrt() * noise - (1 - kept).sqrt() * clean
        return noise if predicts is Predicts.NOISE else clean

    def clean(self, noised: Tensor, answer: Tensor, time: Tensor, predicts: Predicts) -> Tensor:
        """The clean data that an answer stands for: the way back of ``target``."""
        if predicts is Predicts.CLEAN:
            return answer
        kept = like(self.kept(time), noised)
        if predicts is Predicts.VELOCITY:
            return kept.sqrt() * noised - (1 - kept).sqrt() * answer
        return (noised - (1 - kept).sqrt() * answer) / kept.sqrt()

    def posterior(self, clean: Tensor, noised: Tensor, time: Tensor) -> Gaussian:
        """q(x_{t-1} | x_t, clean): where one step back leads; at t = 0 the variance is that of t = 1, not 0.

        Ho et al. 2020, equation 7.
        """
        beta = self.betas().to(time.device)
        kept = (1 - beta).cumprod(0)
        before = torch.cat([kept.new_ones(1), kept[:-1]])
        variance = beta * (1 - before) / (1 - kept)
        variance = torch.cat([variance[1:2], variance[1:]]) if self.steps > 1 else variance
        first = like((beta * before.sqrt() / (1 - kept))[time], clean)
        second = like(((1 - before) * (1 - beta).sqrt() / (1 - kept))[time], clean)
        return Gaussian(first * clean + second * noised, like(variance.log()[time], clean))


def like(values: Tensor, x: Tensor) -> Tensor:
    """(batch,) numbers as what broadcasts with x (batch, ...), and of its type."""
    return values.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
