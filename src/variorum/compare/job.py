"""What was asked: the data, the question, the candidates, the budget, the limits."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from variorum.compare.limits import Limits
from variorum.compare.match import Match
from variorum.core import VariorumError
from variorum.data.question import NO_QUESTION, Question

NO_LIMITS = Limits()


@dataclass(frozen=True)
class Job:
    """A comparison as the user asked for it.

    data: a file, a folder or a bundled name.     question: what is asked of them.
    systems: names of the systems to compare; None: all that fit.     minutes: for the whole job.
    seed: of splits, initial weights and batches.     workers: processes that train at a time, on one thread each.
    limits: what a prediction of the winner may cost.     match: what is made equal for all candidates.
    steps: of each training; seconds then limit nothing but the whole, and the same command finds the same again.
    storage: URL of the database that several machines share; None: a file in the run's folder.
    ray: address of a Ray cluster that trains; None: this machine does.
    """

    data: str
    question: Question = NO_QUESTION
    systems: tuple[str, ...] | None = None
    minutes: float = 5.0
    seed: int = 0
    workers: int = 1
    limits: Limits = NO_LIMITS
    match: Match = Match.TIME
    steps: int | None = None
    storage: str | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.minutes < 60 * 24 * 365:
            raise VariorumError("minutes", expected="a number above 0", found=str(self.minutes), do="Try --minutes 5.")
        if not 0 <= self.seed < 2**31:
            raise VariorumError("seed", expected=f"a whole number from 0 to {2**31 - 1}", found=str(self.seed),
                                do="Try --seed 0.")  # fmt: skip
        if self.workers < 1:
            raise VariorumError("workers", expected="at least 1", found=str(self.workers), do="Leave --workers out.")
        if self.steps is not None and self.steps < 1:
            raise VariorumError("steps", expected="at least 1", found=str(self.steps), do="Try --steps 1000.")
        if self.ray not in (None, "local") and self.storage is None:
            raise VariorumError("--ray", expected="a --storage that all nodes reach", found="none",
                                do="Add --storage postgresql+psycopg://user:password@host/name.")  # fmt: skip
        if self.steps is None and self.match in (Match.STEPS, Match.FLOPS):
            raise VariorumError(f"--match {self.match}", expected="how many steps a training has", found="no --steps",
                                do="Add --steps 1000, or match time or parameters.")  # fmt: skip

    @property
    def seconds(self) -> float:
        """The budget of the whole job."""
        return self.minutes * 60

    @property
    def title(self) -> str:
        """The data's name without its folder."""
        return Path(self.data).name or self.data

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self)
        return {**plain, "systems": list(self.systems) if self.systems is not None else None}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Job":
        """The job that :meth:`to_dict` wrote."""
        systems = tree["systems"]
        known = {"question": Question(**tree["question"]), "limits": Limits(**tree["limits"]),
                 "match": Match(tree["match"]), "systems": tuple(systems) if systems is not None else None}  # fmt: skip
        return cls(**{**tree, **known})
