"""The answer in a few sentences, first thing in the report. If a plain baseline is best, the first says so."""

from collections.abc import Mapping, Sequence
from typing import Any

from variorum.compare import words
from variorum.compare.result import Result, State

Q = words.share
NAMED = 3
"""Candidates over a limit that are named; of more, their number."""
_LIMITED = {
    "latency_ms": lambda most: f"{words.milliseconds(most)} a prediction",
    "memory_mb": lambda most: f"{words.mebibytes(most)} of memory",
    "size_bytes": lambda most: f"{words.size(most)} on disk",
}


def winner(finished: Sequence[Result]) -> Result | None:
    """The candidate with the best held-out score within the limits; ``finished`` are in the order of their scores."""
    return next((r for r in finished if r.finished), None)


def answer(results: Sequence[Result], *, data: str, limits: Mapping[str, Any] | None = None) -> str:
    """What to use and why; what is just as good and cheaper; ``results`` are in the order of their scores."""
    return " ".join(sentences(results, data=data, limits=limits))


def sentences(results: Sequence[Result], *, data: str, limits: Mapping[str, Any] | None = None) -> list[str]:
    """The answer sentence by sentence, the first of which says what to use.

    limits: the most that a model may take, by the names of ``Result``'s figures; None for what has no limit.
    """
    best, out = winner(results), [r for r in results if r.state is State.OUT]
    if best is None:
        return _nothing(results, out, data)
    others = [r for r in results if r.finished and r.equals_best and r is not best]
    bounds = limits_in_words(limits or {})
    said = [
        f"Use {best.label}{', a plain baseline' if best.baseline else ''}: {_figures(best, data)}.",
        _beaten(results) if best.baseline else "",
        _equal(others),
        "" if best.baseline else _cheaper(best, others),
        _one_seed(best, results),
        f"Limits: {bounds}." if bounds else "",
        _over(out, best),
    ]
    return [sentence for sentence in said if sentence]


def limits_in_words(limits: Mapping[str, Any]) -> str:
    """Limits by the names of ``Result``'s figures: ``at most 1.00 ms a prediction and 2.0 MB on disk``."""
    known = [_LIMITED[name](most) for name, most in limits.items() if name in _LIMITED and most is not None]
    return f"at most {_list(known)}" if known else ""


def _figures(best: Result, data: str) -> str:
    """Score, interval, seeds and costs of the winner."""
    found = f"{best.metric} {Q(best.quality, metric=best.metric)} on unseen rows of {data}"
    sure = []
    if best.low is not None:
        span = f"{Q(best.low, metric=best.metric)} to {Q(best.high, metric=best.metric)}"
        sure.append(f"95 % interval {span}")
    if best.seeds is not None and best.seeds > 1:
        sure.append(f"mean of {best.seeds} seeds")
    found += f" ({', '.join(sure)})" if sure else ""
    costs = [text for text, known in (
        (f"{words.milliseconds(best.latency_ms)} a prediction", best.latency_ms),
        (f"{words.size(best.size_bytes)} on disk", best.size_bytes),
    ) if known is not None]  # fmt: skip
    return f"{found}, {' and '.join(costs)}" if costs else found


def _nothing(results: Sequence[Result], out: Sequence[Result], data: str) -> list[str]:
    """There is no winner: all failed, or those that were trained are over a limit."""
    failed = sum(r.state is State.FAILED for r in results)
    if not out:
        return [f"No candidate was trained to its end on {data}{f': {failed} failed' if failed else ''}."]
    known = [r for r in out if r.quality is not None]
    nearest = f"The best of them, {known[0].label}, has {_figures(known[0], data)}." if known else ""
    said = [f"No candidate keeps within the limits on {data}.", nearest, _over(out, None)]
    return [sentence for sentence in said if sentence]


def _beaten(results: Sequence[Result]) -> str:
    """What became of the Transformers where a plain baseline is best."""
    systems = [r for r in results if not r.baseline]
    if not systems:
        return "No Transformer took part."
    if any(r.finished for r in systems):
        return "No Transformer did better."
    kept = any(r.state is State.OUT for r in systems)
    return "No Transformer kept within the limits." if kept else "No Transformer was trained to its end."


def _equal(others: Sequence[Result]) -> str:
    if not others:
        return ""
    names = _list([f"{r.label}{' (a plain baseline)' if r.baseline else ''}" for r in others])
    return f"Not distinguishable from it on these rows: {names}."


def _cheaper(best: Result, others: Sequence[Result]) -> str:
    """The fastest of those that are as good, if it is clearly faster."""
    timed = [r for r in others if r.latency_ms]
    fastest = min(timed, key=lambda r: r.latency_ms or 0.0, default=None)
    if fastest is None or not best.latency_ms or not fastest.latency_ms or fastest.latency_ms > 0.7 * best.latency_ms:
        return ""
    times = words.number(best.latency_ms / fastest.latency_ms, digits=2)
    return f"{fastest.label[0].upper()}{fastest.label[1:]} predicts {times} times faster."


def _one_seed(best: Result, results: Sequence[Result]) -> str:
    """A winner that was not in the final, where there was one."""
    if best.finalist is not False or not any(r.finalist for r in results):
        return ""
    return "It did not reach the final: its score is that of one seed."


def _over(out: Sequence[Result], best: Result | None) -> str:
    """Who is over which limit, those with a better score than the winner's first, for they come first."""
    if not out:
        return ""
    named = [f"{r.label} ({r.over})" if r.over else r.label for r in out[:NAMED]]
    named += [f"{len(out) - NAMED} more"] if len(out) > NAMED else []
    return f"Over a limit{', so not chosen' if best else ''}: {_list(named)}."


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
