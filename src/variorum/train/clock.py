"""How much of a budget is spent."""

from time import perf_counter

from variorum.core import VariorumError
from variorum.train.recipe import Budget


class Clock:
    """Counts a budget down, in seconds, in steps, or in both: the limit that is nearer counts.

    seconds run from the start of the training, whatever is done in them (building, measuring, judging, saving), and go
    on where a resumed training left off; the time in between does not count. ``reserve``: seconds to be kept for a last
    judgement. Raises :class:`VariorumError` for a budget without a limit, or with one that is not positive.
    """

    def __init__(self, budget: Budget, *, before: float = 0.0) -> None:
        limits = [limit for limit in (budget.seconds, budget.steps) if limit is not None]
        if not limits or min(limits) <= 0:
            raise VariorumError("budget", expected="a positive number of seconds or of steps",
                                found=f"{budget.seconds} seconds and {budget.steps} steps",
                                do="Say how long to train: Budget(seconds=60) or Budget(steps=1000).")  # fmt: skip
        self.budget, self.before, self.started, self.reserve = budget, before, perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self.before + perf_counter() - self.started

    def spent(self, step: int) -> float:
        """The part of the budget, in [0, 1], that is spent when ``step`` steps are done."""
        parts = [step / self.budget.steps] if self.budget.steps is not None else []
        if self.budget.seconds is not None:
            end = max(self.budget.seconds - self.reserve, 0.0)
            parts.append(self.seconds / end if end else 1.0)
        return min(max(parts), 1.0)

    @property
    def late(self) -> bool:
        """Are all seconds, the reserve included, used up?"""
        return self.budget.seconds is not None and self.seconds >= self.budget.seconds
