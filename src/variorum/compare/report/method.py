"""How it was measured, and on what: the last part of the report."""

from collections.abc import Sequence
from typing import Any

from variorum.compare import words
from variorum.compare.answer import limits_in_words
from variorum.compare.interval import RESAMPLES
from variorum.compare.job import Job
from variorum.compare.record import Record
from variorum.compare.result import Result

MATCHED = {
    "time": "the seconds that each candidate was granted",
    "steps": "the steps of training",
    "parameters": "the number of parameters",
    "flops": "the FLOPs of a whole training",
}
"""What candidates can be made equal in, in words."""
_COMPARED = (
    ("time", "train_seconds", "seconds of training", words.span),
    ("steps", "steps", "steps", words.count),
    ("parameters", "parameters", "parameters", words.count),
    ("flops", "flops", "FLOPs of one prediction", words.count),
)


def method(record: Record) -> list[dict[str, Any]]:
    """How a comparison was made fair: parts, each a title and sentences."""
    parts = (
        ("What each was given", _given(record)),
        ("Matching", matching(record)),
        ("Search", _search(record)),
        ("Finals", _finals(record)),
        ("Scores and intervals", _scores(record)),
        ("Speed and memory", _costs(record)),
    )
    return [{"title": title, "sentences": said} for title, said in parts if said]


def _given(record: Record) -> list[str]:
    granted = [r.granted_seconds for r in record.results.values() if r.granted_seconds is not None]
    ends = [f"{end(granted):.0f}" for end in (min, max)] if granted else ["the same number of"]
    spread = " to ".join(dict.fromkeys(ends))
    return [
        f"Every candidate, plain baselines included, was granted an equal part of the budget ({spread} seconds for "
        "training and scoring together); what those with a way of learning of their own did not use was shared among "
        "the others. Each ran in a process of its own.",
        "All saw the same split: training rows to learn from, validation rows to choose by, test rows only for the "
        "scores here.",
    ]


def matching(record: Record) -> list[str]:
    """What was made equal, and how far the candidates lie apart in the rest."""
    match = record.job.to_dict().get("match") or "time"
    apart = {key: _apart(record.finished, figure, text) for key, figure, _, text in _COMPARED}
    names = {key: name for key, _, name, _ in _COMPARED}
    others = [f"{names[key]} {said}" for key, said in apart.items() if said and key != match]
    own = f" (used: {apart[match]})" if apart.get(match) else ""
    said = [f"Matched: {MATCHED.get(match, match)}{own}."]
    if others:
        said.append(f"Not matched, smallest to largest of the finished: {'; '.join(others)}. A difference in score may "
                    "come from these as well as from the design.")  # fmt: skip
    return said


def _apart(results: Sequence[Result], figure: str, text: Any) -> str:
    """The smallest and the largest of a figure, and their ratio; nothing where fewer than two have it."""
    known = [value for r in results if (value := getattr(r, figure))]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    times = f", {words.number(high / low, digits=2)} times" if high > 1.005 * low else ""
    return f"{text(low)} to {text(high)}{times}" if text(low) != text(high) else f"{text(low)}{times}"


def _search(record: Record) -> list[str]:
    searched = [r for r in record.results.values() if r.trials is not None]
    if not searched:
        return []
    trials, stopped = (sum(getattr(r, name) or 0 for r in searched) for name in ("trials", "stopped"))
    return [
        "Every candidate was searched for the same number of seconds, in a study of its own (Optuna): a trial is one "
        "training with one size and one choice of what its way of learning leaves open, such as the learning rate. The "
        "first trial is the default.",
        "Successive halving: a trial that is behind on the validation rows after a part of its time gives the rest of "
        f"it to others. {words.count(trials)} trials were begun in all, {words.count(stopped)} of them ended early.",
        "The trial with the best validation score is what the candidate stands for; test rows played no part.",
    ]


def _finals(record: Record) -> list[str]:
    finalists = [r for r in record.results.values() if r.finalist]
    if not finalists:
        return []
    counts = sorted({r.seeds for r in finalists if r.seeds is not None})
    seeds = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "several"
    return [
        f"The {len(finalists)} best by validation score, the best system and the best plain baseline among them, were "
        f"trained anew and for longer with {seeds} different seeds each, and on most of the validation rows too where "
        "these are many, as nothing was left to be chosen by them. Their score is the mean over the seeds, and ± "
        "is the standard deviation from seed to seed.",
        "The others did not reach the final: their score is that of the best model of their search, from one seed, and "
        "so less sure than its interval says.",
    ]


def _scores(record: Record) -> list[str]:
    intervals = ", ".join(sorted({r.interval for r in record.finished if r.interval})) or "none"
    several = any((r.seeds or 1) > 1 for r in record.finished)
    sources = "rows, and seeds where there are several" if several else "rows"
    return [
        f"Scores are means over the whole test split; intervals hold with 95 % confidence for other {sources}, and "
        f"were found by: {intervals}.",
        "Whether a candidate can be told apart from the best: bootstrap of the paired difference over test rows, "
        f"{RESAMPLES:,} draws, widened for the number of comparisons.",
        "The best of several measured scores flatters itself a little, since it was chosen by these rows; the set that "
        "cannot be told apart does not.",
    ]


def _costs(record: Record) -> list[str]:
    together = all(r.interleaved for r in record.finished)
    turns = (
        "all candidates taking turns in one fresh process" if together else "each candidate by itself after training"
    )
    bounds = limits_in_words(record.job.to_dict().get("limits") or {})
    limits = [f"A candidate over a limit cannot win, however well it scores. Limits: {bounds}."] if bounds else []
    energy = any(r.energy_mj is not None for r in record.results.values())
    return [
        *limits,
        f"Latency: one prepared row, one thread, median of warm calls, {turns}.",
        "Memory: what a copy of the model, loaded and predicting one row, adds at its peak to a process that has one "
        "already, so that libraries do not count; of training: over the process with the data loaded.",
        "FLOPs: matrix products, convolutions and attention, a multiplication with its addition counted as two.",
        *(["Energy: what the processor's own counter says, over many predictions."] if energy else []),
    ]


def settings(record: Record) -> list[tuple[str, str]]:
    """What was asked, and the machine."""
    job, machine = record.job, record.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    bounds = limits_in_words(job.to_dict().get("limits") or {})
    return [
        ("budget", f"{_budget(job)}; {words.span(record.elapsed)} used"),
        *([("overhead", _overhead(record))] if record.busy else []),
        *([("limits", bounds)] if bounds else []),
        ("seed", str(job.seed)),
        ("workers", f"{job.workers} candidates trained at a time, each on one thread"),
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("memory", f"{machine['memory_gb']} GiB"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("versions", versions),
    ]


def _budget(job: Job) -> str:
    return f"{job.minutes:g} minutes" if job.steps is None else f"{job.steps} steps of each training"


def _overhead(record: Record) -> str:
    share = 1 - record.busy / record.elapsed
    return f"{100 * share:.1f} % of the time nothing was trained or measured"
