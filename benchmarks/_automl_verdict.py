"""How tools did on a set: each one's score with its interval, and ours beside each of the others on the same rows.

The interval of a difference is a paired bootstrap over the test rows (see ``variorum.compare.interval``). Ours is
``better`` or ``worse`` where all of it lies on one side of 0, else as good within the interval. A verdict is made of
the figures whenever the page is; none is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from variorum.compare.interval import LEVEL, Scores, interval, resampled

AS_GOOD = "as good within the interval"


@dataclass(frozen=True)
class Found:
    """What a tool found. chosen: the model that it settled on.     searched, seconds: until then, and altogether.

    mean, low, high: score and interval; None if it ``failed``, which says why.     version: of the tool.
    """

    tool: str
    version: str
    seconds: float
    searched: float | None = None
    chosen: str | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Difference:
    """Ours less a peer's mean score, with the interval of 95 percent."""

    tool: str
    mean: float
    low: float
    high: float

    def verdict(self, *, higher_is_better: bool) -> str:
        """What the interval says of ours."""
        if self.low <= 0 <= self.high:
            return AS_GOOD
        return "better" if (self.low > 0) is higher_is_better else "worse"


@dataclass
class OnSet:
    """All that was found on a set. rows: of the test part.     minutes: that each tool had."""

    name: str
    says: str
    metric: str
    higher_is_better: bool
    rows: int
    minutes: float
    date: str
    tools: list[Found] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def judge(self, ours: str, scores: Mapping[str, Scores]) -> None:
        """Set the scores of the tools, and the differences of ours from the others; scores: of those that answered."""
        self.tools = [_with(found, scores[found.tool]) if found.tool in scores else found for found in self.tools]
        if ours in scores:
            self.differences = [difference(tool, scores[ours], theirs) for tool, theirs in scores.items()
                                if tool != ours]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "OnSet":
        """What :meth:`to_dict` wrote."""
        tools = [Found(**found) for found in tree["tools"]]
        return cls(**{**tree, "tools": tools, "differences": [Difference(**d) for d in tree["differences"]]})


def _with(found: Found, scores: Scores) -> Found:
    span = interval(scores)
    return Found(**{**asdict(found), "mean": scores.mean, "low": span.low, "high": span.high})


def difference(tool: str, ours: Scores, theirs: Scores) -> Difference:
    """Ours less theirs, row by row on the same rows."""
    means = resampled([ours, theirs])
    low, high = np.quantile(means[0] - means[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(tool, ours.mean - theirs.mean, float(low), float(high))


# -- the page ----------------------------------------------------------------------------------------------------------
def tables(sets: Sequence[dict[str, Any]], *, ours: str) -> list[str]:
    """The lines of the page: a table of scores and verdicts, one of times and choices, and how often ours is what."""
    found = [OnSet.from_dict(tree) for tree in sets]
    names = list(dict.fromkeys(one.tool for on in found for one in on.tools if one.tool != ours))
    versions = {one.tool: one.version for on in found for one in on.tools}
    head = ["set", "score", f"ours ({versions[ours]})" if ours in versions else "ours",
            *(f"{name} ({versions[name]})" for name in names)]  # fmt: skip
    lines = [_row(head), "|---|---|" + "---|" * (len(head) - 2)]
    for on in found:
        told = {one.tool: one for one in on.tools}
        cells = [_ours(told.get(ours)), *(_peer(on, told.get(name)) for name in names)]
        better = "higher" if on.higher_is_better else "lower"
        lines.append(_row([f"{on.name}: {on.says}; {on.rows} test rows", f"{on.metric}, {better} is better", *cells]))
    counts = _counts(found, names)
    return [*lines, "", *counts, *([""] if counts else []), *_times(found, [ours, *names])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _ours(one: Found | None) -> str:
    return "-" if one is None else f"**failed**: {one.failed}" if one.failed else f"**{_score(one)}**, {one.chosen}"


def _peer(on: OnSet, one: Found | None) -> str:
    if one is None or one.failed:
        return "-" if one is None else f"failed: {one.failed}"
    between = next((d for d in on.differences if d.tool == one.tool), None)
    if between is None:
        return _score(one)
    verdict = between.verdict(higher_is_better=on.higher_is_better)
    shown = verdict if verdict == AS_GOOD else f"**{verdict}**"
    return f"{_score(one)}; ours {between.mean:+.4f} ({between.low:+.4f} to {between.high:+.4f}): {shown}"


def _score(one: Found) -> str:
    return f"{one.mean:.4f} ({one.low:.4f} to {one.high:.4f})"


def _counts(found: Sequence[OnSet], names: Sequence[str]) -> list[str]:
    """For each peer, on how many sets ours is better, as good and worse."""
    lines = []
    for name in names:
        verdicts = [d.verdict(higher_is_better=on.higher_is_better) for on in found for d in on.differences
                    if d.tool == name]  # fmt: skip
        told = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("better", AS_GOOD, "worse"))
        lines.append(f"- beside {name}, ours is, of {len(verdicts)} sets: {told}.")
    return lines


def _times(found: Sequence[OnSet], names: Sequence[str]) -> list[str]:
    """Seconds that each tool took, and what it settled on."""
    lines = ["| seconds of the search (altogether); chosen | minutes | " + " | ".join(names) + " |",
             "|---|---:|" + "---|" * len(names)]  # fmt: skip
    for on in found:
        told = {one.tool: one for one in on.tools}
        cells = [_took(told[name]) if name in told else "-" for name in names]
        lines.append(_row([on.name, f"{on.minutes:g}", *cells]))
    return lines


def _took(one: Found) -> str:
    searched = f"{one.searched:.0f} ({one.seconds:.0f})" if one.searched is not None else f"{one.seconds:.0f}"
    return f"{searched}; {one.chosen}" if one.chosen else searched
