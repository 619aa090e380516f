"""The answer in a sentence or two, first thing in the report. If a plain baseline is best, it says so."""

from collections.abc import Sequence

from variorum.compare import words
from variorum.compare.result import Result, State

Q = words.share


def winner(finished: Sequence[Result]) -> Result | None:
    """The candidate with the best held-out score; ``finished`` are in the order of their scores."""
    return finished[0] if finished else None


def answer(results: Sequence[Result], *, data: str) -> str:
    """What to use and why; what is just as good and cheaper; ``results`` are in the order of their scores."""
    return " ".join(sentences(results, data=data))


def sentences(results: Sequence[Result], *, data: str) -> list[str]:
    """The answer sentence by sentence, the first of which says what to use."""
    finished = [r for r in results if r.finished]
    best, failed = winner(finished), sum(r.state is State.FAILED for r in results)
    if best is None:
        return [f"No candidate was trained to its end on {data}{f': {failed} failed' if failed else ''}."]
    figures = f"{best.metric} {Q(best.quality, metric=best.metric)} on unseen rows of {data}"
    if best.low is not None:
        figures += f" (95 % interval {Q(best.low, metric=best.metric)} to {Q(best.high, metric=best.metric)})"
    costs = [text for text, known in (
        (f"{words.milliseconds(best.latency_ms)} a prediction", best.latency_ms),
        (f"{words.size(best.size_bytes)} on disk", best.size_bytes),
    ) if known is not None]  # fmt: skip
    figures += f", {' and '.join(costs)}" if costs else ""
    others = [r for r in finished[1:] if r.equals_best]
    if best.baseline:
        first = f"Use {best.label}, a plain baseline: {figures}."
        systems = [r for r in results if not r.baseline]
        ended = any(r.finished for r in systems)
        beaten = (
            "No Transformer did better."
            if ended
            else "No Transformer was trained to its end."
            if systems
            else "No Transformer took part."
        )
        return [first, beaten, *_equal(others)]
    return [f"Use {best.label}: {figures}.", *_equal(others), *_cheaper(best, others)]


def _equal(others: Sequence[Result]) -> list[str]:
    if not others:
        return []
    plain = [r for r in others if r.baseline]
    names = _list([f"{r.label}{' (a plain baseline)' if r in plain else ''}" for r in others])
    return [f"Not distinguishable from it on these rows: {names}."]


def _cheaper(best: Result, others: Sequence[Result]) -> list[str]:
    """The fastest of those that are as good, if it is clearly faster."""
    timed = [r for r in others if r.latency_ms]
    fastest = min(timed, key=lambda r: r.latency_ms or 0.0, default=None)
    if fastest is None or not best.latency_ms or not fastest.latency_ms or fastest.latency_ms > 0.7 * best.latency_ms:
        return []
    times = words.number(best.latency_ms / fastest.latency_ms, digits=2)
    return [f"{fastest.label[0].upper()}{fastest.label[1:]} predicts {times} times faster."]


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
