"""How it was measured, and on what: the last part of the report."""

from variorum.compare import words
from variorum.compare.interval import RESAMPLES
from variorum.compare.record import Record


def method(record: Record) -> list[str]:
    """How a comparison was made fair, in sentences."""
    granted = [r.granted_seconds for r in record.results.values() if r.granted_seconds is not None]
    ends = [f"{end(granted):.0f}" for end in (min, max)] if granted else ["the same number of"]
    spread = " to ".join(dict.fromkeys(ends))
    intervals = ", ".join(sorted({r.interval for r in record.finished if r.interval})) or "none"
    together = all(r.interleaved for r in record.finished)
    turns = (
        "all candidates taking turns in one fresh process" if together else "each candidate by itself after training"
    )
    return [
        f"Every candidate, plain baselines included, was granted an equal part of the budget ({spread} seconds for "
        "training and scoring together); what those with a way of learning of their own did not use was shared among "
        "the others. Each ran in a process of its own.",
        "All saw the same split: training rows to learn from, validation rows to choose by, test rows only for the "
        "scores here.",
        f"Scores are means over the whole test split; intervals: {intervals}. Whether a candidate can be told apart "
        f"from the best: bootstrap of the paired difference over test rows, {RESAMPLES:,} draws, widened for the "
        "number of comparisons.",
        "The best of several measured scores flatters itself a little, since it was chosen by these rows; the set that "
        "cannot be told apart does not.",
        f"Latency: one prepared row, one thread, median of warm calls, {turns}.",
        "Memory: what a copy of the model, loaded and predicting one row, adds at its peak to a process that has one "
        "already, so that libraries do not count; of training: over the process with the data loaded.",
        "FLOPs: matrix products, convolutions and attention, a multiplication with its addition counted as two.",
    ]


def settings(record: Record) -> list[tuple[str, str]]:
    """What was asked, and the machine."""
    job, machine = record.job, record.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    return [
        ("budget", f"{job.minutes:g} minutes; {words.span(record.elapsed)} used"),
        ("seed", str(job.seed)),
        ("workers", f"{job.workers} candidates trained at a time, each on one thread"),
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("memory", f"{machine['memory_gb']} GiB"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("versions", versions),
    ]
