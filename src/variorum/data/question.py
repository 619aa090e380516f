"""What a user asks of data, beside where they are."""

from dataclasses import dataclass, fields
from typing import Any

from variorum.core import VariorumError


@dataclass(frozen=True)
class Question:
    """Each is None where the user leaves it to the data, or the data have no such thing.

    reads: the kind of data, when what is detected is not meant.     target: the column to predict.
    time: the column of times.     group: the column that tells series apart.     horizon: how many steps to forecast.
    """

    reads: str | None = None
    target: str | None = None
    time: str | None = None
    group: str | None = None
    horizon: int | None = None

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon < 1:
            raise VariorumError("horizon", expected="at least 1 step", found=str(self.horizon), do="Try --horizon 24.")

    @property
    def asked(self) -> dict[str, Any]:
        """What is not left open, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


NO_QUESTION = Question()
