"""The columns of the report's table and the axes of its plot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from variorum.compare import words
from variorum.compare.result import Result

Text = Callable[[float | None], str]


class Group(StrEnum):
    """Columns that are shown or hidden together."""

    SCORE = "score"
    SPEED = "speed"
    SIZE = "size"
    TRAINING = "training"
    SEARCH = "search"


@dataclass(frozen=True)
class Column:
    """A column of the table: ``text`` of a result as people read it, ``key`` of the figure that it is sorted by."""

    name: str
    key: str
    text: Callable[[Result], str]
    says: str
    group: Group = Group.SCORE
    number: bool = True


@dataclass(frozen=True)
class Axis:
    """A figure that a plot can have on an axis.     more: is more of it better?     tick: how its ticks are written."""

    key: str
    title: str
    text: Text
    more: bool = False
    tick: str = ""


AXES: tuple[Axis, ...] = (
    Axis("latency_ms", "latency of one prediction in ms", words.milliseconds),
    Axis("size_bytes", "size on disk in bytes", words.size, tick="~s"),
    Axis("memory_mb", "memory of one prediction in MiB", words.mebibytes),
    Axis("parameters", "parameters", words.count, tick="~s"),
    Axis("flops", "FLOPs of one prediction", words.count, tick="~s"),
    Axis("energy_mj", "energy of one prediction in mJ", words.millijoules),
    Axis("throughput", "predictions a second, in batches", words.count, more=True, tick="~s"),
    Axis("latency_p95_ms", "latency that 95 of 100 predictions keep, in ms", words.milliseconds),
    Axis("train_seconds", "seconds of training", words.span),
    Axis("train_memory_mb", "memory of training in MiB", words.mebibytes),
)
"""Figures that quality, or each other, can be drawn over."""

_FIGURES: tuple[tuple[str, str, Text, Group, str], ...] = (
    ("latency", "latency_ms", words.milliseconds, Group.SPEED, "median, one row, one thread, warm"),
    ("p95", "latency_p95_ms", words.milliseconds, Group.SPEED, "95 of 100 predictions are faster"),
    ("rows/s", "throughput", words.count, Group.SPEED, "in batches, all threads"),
    ("FLOPs", "flops", words.count, Group.SPEED, "of one prediction"),
    ("energy", "energy_mj", words.millijoules, Group.SPEED, "of one prediction"),
    ("size", "size_bytes", words.size, Group.SIZE, "all files of the bundle"),
    ("memory", "memory_mb", words.mebibytes, Group.SIZE,
     "peak of loading it and predicting a row, libraries not counted"),
    ("parameters", "parameters", words.count, Group.SIZE, "learned by gradient or solver; trees and counts have none"),
    ("training", "train_seconds", words.span, Group.TRAINING, "seconds used"),
    ("steps", "steps", words.count, Group.TRAINING, "of its own way of learning"),
    ("training memory", "train_memory_mb", words.mebibytes, Group.TRAINING,
     "peak of training, over the process with the data"),
    ("trials", "trials", words.count, Group.SEARCH, "trainings of its search"),
    ("stopped", "stopped", words.count, Group.SEARCH, "of these, ended early"),
)  # fmt: skip


def columns(metric: str, results: Sequence[Result]) -> list[Column]:
    """The columns of the table; a figure that no result has is left out, but for the score."""
    found = [
        Column("candidate", "name", lambda r: r.name, "system or plain baseline", number=False),
        Column(metric, "quality", lambda r: words.share(r.quality, metric=metric), "mean over all held-out rows"),
        Column("95 % interval", "low", interval, "where the mean lies"),
        Column("seeds", "seeds", seeds, "trainings that the score is a mean of, and its deviation between them"),
        Column("validation", "valid", lambda r: words.share(r.valid, metric=metric), "score on the validation rows"),
        *(Column(name, key, _figure(key, text), says, group) for name, key, text, group, says in _FIGURES),
        Column("chosen", "chosen", lambda r: r.chosen or "–", "what its search chose", Group.SEARCH, number=False),
    ]
    return [c for c in found if c.key in ("name", "quality") or any(getattr(r, c.key) is not None for r in results)]


def _figure(key: str, text: Text) -> Callable[[Result], str]:
    return lambda result: text(getattr(result, key))


def interval(r: Result) -> str:
    """The interval of a score in words."""
    return "–" if r.low is None else f"{words.share(r.low, metric=r.metric)} to {words.share(r.high, metric=r.metric)}"


def seeds(r: Result) -> str:
    """How many seeds, and the deviation of the score from one to another."""
    if r.seeds is None:
        return "–"
    return f"{r.seeds}" if r.spread is None else f"{r.seeds}, ± {words.deviation(r.spread, metric=r.metric)}"
