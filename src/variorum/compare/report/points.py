"""The candidates as points of the plot of one figure over another."""

from typing import Any

from variorum.compare import words
from variorum.compare.answer import winner
from variorum.compare.record import Record
from variorum.compare.report.columns import AXES, Axis, interval, seeds
from variorum.compare.result import Result, State


def measured(record: Record) -> list[Result]:
    """Those with a score, within the limits or over one, best first."""
    return [r for r in record.ordered if r.quality is not None and r.state in (State.FINISHED, State.OUT)]


def points(record: Record) -> list[dict[str, Any]]:
    """Each with its figures, and how it stands to the best: best, equal (not distinguishable), worse, out."""
    return [
        {
            "name": r.name,
            "title": r.title,
            "baseline": r.baseline,
            "standing": standing(r, record),
            "over": r.over,
            "quality": r.quality,
            "low": r.low,
            "high": r.high,
            "hover": _hover(r, record.data["metric"]),
            **{axis.key: getattr(r, axis.key) for axis in AXES},
        }
        for r in measured(record)
    ]


def axes(record: Record) -> list[dict[str, Any]]:
    """The score, and every figure that some candidate has."""
    metric, percent = record.data["metric"], record.data["metric"] == "accuracy"
    score = Axis("quality", f"{metric} in %" if percent else metric, words.number, more=record.data["higher_is_better"])
    known = [axis for axis in AXES if any(getattr(r, axis.key) is not None for r in measured(record))]
    suffix, scale = (" %", 100) if percent else ("", 1)
    return [_axis(score, suffix=suffix, scale=scale), *(_axis(axis, suffix="", scale=1) for axis in known)]


def _axis(axis: Axis, *, suffix: str, scale: float) -> dict[str, Any]:
    return {
        "key": axis.key,
        "title": axis.title,
        "tick": axis.tick,
        "more": axis.more,
        "suffix": suffix,
        "scale": scale,
    }


def standing(r: Result, record: Record) -> str:
    """How a candidate stands to the best one that is within the limits."""
    best = winner(record.finished)
    if r.state is State.OUT:
        return "out"
    return "best" if best is not None and r.name == best.name else "equal" if r.equals_best else "worse"


def _hover(r: Result, metric: str) -> list[list[str]]:
    told = [[metric, words.share(r.quality, metric=metric)]]
    told += [["95 % interval", interval(r)]] if r.low is not None else []
    told += [["seeds", seeds(r)]] if r.seeds is not None else []
    told += [[axis.title, axis.text(getattr(r, axis.key))] for axis in AXES if getattr(r, axis.key) is not None]
    return told + ([["over a limit", r.over]] if r.over else [])
