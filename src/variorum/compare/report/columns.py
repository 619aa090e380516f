"""The columns of the report's table and the axes of its plot."""

from collections.abc import Callable
from dataclasses import dataclass

from variorum.compare import words
from variorum.compare.result import Result


@dataclass(frozen=True)
class Column:
    """A column of the table: ``text`` of a result as people read it, ``key`` of the figure that it is sorted by."""

    name: str
    key: str
    text: Callable[[Result], str]
    says: str
    number: bool = True


AXES: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("latency_ms", "latency of one prediction in ms", words.milliseconds),
    ("size_bytes", "size on disk in bytes", words.size),
    ("memory_mb", "memory of one prediction in MiB", words.mebibytes),
    ("parameters", "parameters", words.count),
    ("flops", "FLOPs of one prediction", words.count),
    ("train_seconds", "seconds of training", words.span),
)
"""Costs that quality is drawn over: figure, title, how it is written."""

_COSTS: tuple[tuple[str, str, Callable[[float | None], str], str], ...] = (
    ("latency", "latency_ms", words.milliseconds, "median, one row, one thread, warm"),
    ("p95", "latency_p95_ms", words.milliseconds, "95 of 100 predictions are faster"),
    ("rows/s", "throughput", words.count, "in batches, all threads"),
    ("memory", "memory_mb", words.mebibytes, "peak of loading it and predicting a row, libraries not counted"),
    ("size", "size_bytes", words.size, "all files of the bundle"),
    ("parameters", "parameters", words.count, "learned by gradient or solver; trees and counts have none"),
    ("FLOPs", "flops", words.count, "of one prediction"),
    ("training", "train_seconds", words.span, "seconds used"),
    ("steps", "steps", words.count, "of its own way of learning"),
    ("training memory", "train_memory_mb", words.mebibytes, "peak of training, over the process with the data"),
)


def columns(metric: str) -> list[Column]:
    """The columns of the table."""
    return [
        Column("candidate", "name", lambda r: r.name, "system or plain baseline", number=False),
        Column(metric, "quality", lambda r: words.share(r.quality, metric=metric), "mean over all held-out rows"),
        Column("95 % interval", "low", interval, "where the mean lies"),
        *(Column(name, key, _cost(key, text), says) for name, key, text, says in _COSTS),
    ]


def _cost(key: str, text: Callable[[float | None], str]) -> Callable[[Result], str]:
    return lambda result: text(getattr(result, key))


def interval(r: Result) -> str:
    """The interval of a score in words."""
    return "–" if r.low is None else f"{words.share(r.low, metric=r.metric)} to {words.share(r.high, metric=r.metric)}"
