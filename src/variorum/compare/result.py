"""What was found out about one candidate. A figure that was not measured is None, never 0."""

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How far a candidate has come."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    OUT = "out"
    """Over a limit that was set, so that it cannot win."""


@dataclass(frozen=True)
class Result:
    """One row of ``results.csv``.

    quality, low, high: mean held-out score over all ``seeds`` it was trained with, and its 95 percent interval, found
    as ``interval`` says.     spread: standard deviation of the score from seed to seed; None for a single one.
    finalist: was it trained with several seeds, being among the best by ``valid``, its score on the validation rows?
    trials: trainings of its search; ``stopped`` of them were ended early.     chosen: what the search chose, in words.
    over: the limit that it breaks, in words.     energy_mj: of one prediction, millijoules, where the machine tells.
    latency_ms, latency_p95_ms: one prepared row, one thread, warm; ``interleaved`` if all candidates took turns.
    throughput: rows a second in batches of ``batch``, all threads.
    memory_mb: peak of loading the bundle and predicting one row, over a process in which the same one works already.
    train_memory_mb: peak of training over the process with the data loaded.
    size_bytes: of all files of the bundle.     flops: multiplications and additions of one prediction.
    granted_seconds: what the candidate could use for training and held-out scoring.
    """

    name: str
    title: str
    baseline: bool
    state: State = State.WAITING
    error: str | None = None
    metric: str | None = None
    quality: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str | None = None
    equals_best: bool | None = None
    latency_ms: float | None = None
    latency_p95_ms: float | None = None
    interleaved: bool | None = None
    throughput: float | None = None
    batch: int | None = None
    memory_mb: float | None = None
    train_memory_mb: float | None = None
    size_bytes: int | None = None
    parameters: int | None = None
    flops: int | None = None
    energy_mj: float | None = None
    train_seconds: float | None = None
    granted_seconds: float | None = None
    steps: int | None = None
    valid: float | None = None
    trials: int | None = None
    stopped: int | None = None
    chosen: str | None = None
    finalist: bool | None = None
    seeds: int | None = None
    spread: float | None = None
    over: str | None = None

    def but(self, **changes: Any) -> "Result":
        """The same with some fields changed."""
        return replace(self, **changes)

    @property
    def label(self) -> str:
        """What it is called in a sentence: a system by its name, a baseline by what it is."""
        return self.title if self.baseline else self.name

    @property
    def finished(self) -> bool:
        """Was it trained and measured?"""
        return self.state is State.FINISHED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Result":
        """The result that :meth:`to_dict` wrote."""
        return cls(**{**tree, "state": State(tree["state"])})

    @classmethod
    def columns(cls) -> list[str]:
        """The columns of ``results.csv``."""
        return [field.name for field in fields(cls)]
