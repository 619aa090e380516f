"""Learning rate schedules: a factor of the base rate as a function of the part of the budget that is spent."""

import math
from abc import abstractmethod
from typing import ClassVar

from variorum.core import Registered, VariorumError


class Schedule(Registered, abstract=True):
    """Maps the spent part of the budget, in (0, 1], to a factor of the base learning rate."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def factor(self, spent: float) -> float:
        """The factor when this part of the budget, the current step included, is spent."""


class WarmupCosine(Schedule):
    """factor(p) = p / w for p < w, else f + (1 - f) (1 + cos(pi (p - w) / (1 - w))) / 2.

    Linear warm-up (Goyal et al. 2017, arXiv:1706.02677), then half a cosine (Loshchilov & Hutter 2017,
    arXiv:1608.03983) down to a floor.

    warmup: w, the part of the budget that the rate rises in.     floor: f, the factor at the end.
    """

    def __init__(self, *, warmup: float = 0.05, floor: float = 0.1) -> None:
        _check_part("WarmupCosine warmup", warmup)
        _check_part("WarmupCosine floor", floor)
        self.warmup, self.floor = warmup, floor

    def factor(self, spent: float) -> float:
        if spent < self.warmup:
            return spent / self.warmup
        falling = (spent - self.warmup) / (1 - self.warmup)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(falling, 1.0))) / 2


class WarmupConstant(Schedule):
    """factor(p) = min(1, p / w): the rate rises over the part w of the budget, then stays."""

    def __init__(self, *, warmup: float = 0.05) -> None:
        _check_part("WarmupConstant warmup", warmup)
        self.warmup = warmup

    def factor(self, spent: float) -> float:
        return spent / self.warmup if spent < self.warmup else 1.0


def _check_part(subject: str, value: float) -> None:
    if not 0 <= value < 1:
        raise VariorumError(subject, expected="a number from 0 up to, but not, 1", found=repr(value),
                            do="Give a part of the whole, such as 0.05.")  # fmt: skip
