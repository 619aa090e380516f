"""What was asked: the data, the question, the candidates, the budget."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from variorum.core import VariorumError
from variorum.data.question import NO_QUESTION, Question


@dataclass(frozen=True)
class Job:
    """A comparison as the user asked for it.

    data: a file, a folder or a bundled name.     question: what is asked of them.
    systems: names of the systems to compare; None: all that fit.     minutes: for the whole job.
    seed: of splits, initial weights and batches.     workers: processes that train at a time, on one thread each.
    """

    data: str
    question: Question = NO_QUESTION
    systems: tuple[str, ...] | None = None
    minutes: float = 5.0
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.minutes < 60 * 24 * 365:
            raise VariorumError("minutes", expected="a number above 0", found=str(self.minutes), do="Try --minutes 5.")
        if not 0 <= self.seed < 2**31:
            raise VariorumError("seed", expected=f"a whole number from 0 to {2**31 - 1}", found=str(self.seed),
                                do="Try --seed 0.")  # fmt: skip
        if self.workers < 1:
            raise VariorumError("workers", expected="at least 1", found=str(self.workers), do="Leave --workers out.")

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
        question = Question(**tree["question"])
        return cls(**{**tree, "question": question, "systems": tuple(systems) if systems is not None else None})
