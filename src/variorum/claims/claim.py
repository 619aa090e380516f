"""What a claim is: an experiment that measures figures, and the limits that the figures are held to."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import mean, stdev
from typing import ClassVar

from variorum.core import Registered


class Verdict(StrEnum):
    """What the seeds say of a limit. Two standard errors of the mean decide how near is too near to tell."""

    HOLDS = "holds"
    UNDECIDED = "too near to tell"
    FAILS = "does not hold"


@dataclass(frozen=True)
class Demand:
    """A figure, and the least or the most that its mean over seeds should be."""

    figure: str
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if (self.least is None) == (self.most is None):
            raise TypeError(f"{self.figure}: expected one limit, least or most")

    def verdict(self, values: Sequence[float]) -> Verdict:
        """How the values of all seeds stand to the limit; of a single seed the value itself is taken for certain."""
        over = mean(values) - self.least if self.least is not None else self.most - mean(values)  # type: ignore[operator]
        error = stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
        if over >= 0:
            return Verdict.HOLDS
        return Verdict.UNDECIDED if over >= -2 * error else Verdict.FAILS

    def __str__(self) -> str:
        limit = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{self.figure}: {limit}"


class Claim(Registered, abstract=True):
    """A published claim, tried at laptop scale: the same budget for the system and for what it is compared with.

    The docstring's first line says what is claimed; the rest how it is tried, and where a limit differs from the
    catalogue's estimate, why. system: the catalogue's name.     check: which of its row's checks this is, from 0; None
    where the row asks for none: it is the paper's claim all the same.
    demands: limits that the figures are held to.     seeds: how many are run.     synthetic: are the data made?
    """

    kind: ClassVar[str] = "claim"
    system: ClassVar[str]
    check: ClassVar[int | None] = None
    demands: ClassVar[tuple[Demand, ...]]
    seeds: ClassVar[int] = 3
    synthetic: ClassVar[bool] = False

    @abstractmethod
    def run(self, seed: int) -> Mapping[str, float]:
        """The figures of one seed by name: those of the demands, and others worth knowing."""
