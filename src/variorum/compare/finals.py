"""Who is trained again with several seeds, and what comes of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from variorum.compare import atomic
from variorum.compare.interval import Scores, interval
from variorum.compare.record import Record
from variorum.compare.result import Result, State
from variorum.compare.worker import BUNDLE, read_result, read_scores

SEEDS = 3
MOST = 3
"""Finalists, besides the best system and the best plain baseline."""
AVERAGED = ("train_seconds", "train_memory_mb")


def finalists(record: Record) -> list[str]:
    """Names of the best on the validation rows, the best system and the best plain baseline always among them."""
    sign = -1 if record.data["higher_is_better"] else 1
    ranked = sorted((r for r in record.results.values() if r.finished and r.valid is not None),
                    key=lambda r: (sign * (r.valid or 0.0), r.name))  # fmt: skip
    best = ranked[:MOST]
    for baseline in (False, True):
        best += [r for r in ranked if r.baseline is baseline][:1]
    return list(dict.fromkeys(r.name for r in best))


def seeds(record: Record) -> list[int]:
    """The seeds of the finals: that of the search, and those after it."""
    return [record.job.seed + i for i in range(SEEDS)]


def folder(record: Record, name: str, seed: int) -> Path:
    """Where a finalist is trained with a seed."""
    return record.folder(name) / "finals" / str(seed)


def ended(record: Record, name: str) -> list[tuple[Path, dict[str, Any]]]:
    """The finals of a candidate that came to their end: folders and what was found."""
    found = [(path, read_result(path)) for path in (folder(record, name, seed) for seed in seeds(record))]
    return [(path, result) for path, result in found if result is not None]


def concluded(record: Record, result: Result) -> Result:
    """The result of a finalist over all seeds that came to their end; its bundle is that of the best by validation."""
    done = ended(record, result.name)
    if not done:  # what its search found stands
        return result.but(state=State.FINISHED, finalist=False)
    sign = 1 if record.data["higher_is_better"] else -1
    best, found = max(done, key=lambda pair: sign * pair[1]["valid"])
    atomic.copy_folder(best / BUNDLE, record.folder(result.name) / BUNDLE)
    scores = Scores.of_seeds([read_scores(path) for path, _ in done])
    averages = {key: sum(one[key] for _, one in done) / len(done) for key in AVERAGED}
    known = {key: value for key, value in found.items() if key in Result.columns() and key != "valid"}
    return scored(result.but(**{**known, **averages}, finalist=True, state=State.FINISHED), scores, record.job.seed)


def scored(result: Result, scores: Scores, seed: int) -> Result:
    """The result with its quality, interval and spread."""
    span = interval(scores, seed=seed)
    return result.but(quality=scores.mean, low=span.low, high=span.high, interval=span.method,
                      seeds=max(1, len(scores.seeds)), spread=scores.spread)  # fmt: skip


def scores_of(record: Record, results: Sequence[Result]) -> list[Scores]:
    """The held-out scores that stand for each candidate."""
    return [Scores.of_seeds([read_scores(path) for path, _ in ended(record, r.name)] or
                            [read_scores(record.folder(r.name))]) for r in results]  # fmt: skip
