"""``CLAIMS.md``: what was claimed, what was found, and whether the one bears the other out."""

import inspect
from collections.abc import Iterable

from variorum.claims.claim import Claim, Verdict
from variorum.claims.trial import Trial, claims
from variorum.core import rows

PAGE = "CLAIMS.md"

HEADER = """# Claims

Published claims, tried at laptop scale: the same budget for the system and for what it is compared with. Written by
`variorum claims --write` from runs that are kept with the edition; `variorum claims SYSTEM` runs one again. Figures are
means over seeds with their standard deviation. A limit within two standard errors of the mean is too near to tell.
What does not hold here is said; it may hold at the paper's scale, which no laptop has.
"""


def page(trials: Iterable[Trial]) -> str:
    """The page of these runs, and of the claims that have not been run."""
    found = {trial.claim: trial for trial in trials}
    known = claims()
    lines = [HEADER, "| system | claim | found |", "|---|---|---|"]
    lines += [f"| [{c.system}](#{c.__name__.lower()}) | {says(c)} | {outcome(found.get(c.__name__))} |" for c in known]
    for claim in known:
        lines += ["", f"## {claim.__name__}", "", *_section(claim, found.get(claim.__name__))]
    return "\n".join(lines) + "\n"


def says(claim: type[Claim]) -> str:
    """The first line of a claim's docstring."""
    return (inspect.getdoc(claim) or "").splitlines()[0]


def outcome(trial: Trial | None) -> str:
    """The worst of its verdicts, in words."""
    if trial is None:
        return "not run"
    verdicts = [verdict for _, verdict in trial.verdicts()]
    if Verdict.FAILS in verdicts:
        return "**not reproduced**"
    return "too near to tell" if Verdict.UNDECIDED in verdicts else "reproduced"


def _section(claim: type[Claim], trial: Trial | None) -> list[str]:
    row = rows().get(claim.system)
    lines = [(inspect.getdoc(claim) or "").replace("\n", " ").replace("  ", "\n\n").strip()]
    if row is not None:
        lines += ["", f"Published: {row.claim}"]
    if claim.synthetic:
        lines += ["", "The data are synthetic."]
    if trial is None:
        return [*lines, "", f"Not run yet: `variorum claims {claim.system}`."]
    lines += ["", "| demanded | found | |", "|---|---|---|"]
    lines += [f"| {demand} | {trial.spread(demand.figure)} | {verdict} |" for demand, verdict in trial.verdicts()]
    others = [name for name in trial.figures if name not in {demand.figure for demand in claim.demands}]
    if others:
        lines += ["", "Beside them: " + ", ".join(f"{name} {trial.spread(name)}" for name in others) + "."]
    versions = trial.machine["versions"]
    lines += ["", f"{trial.date}; {len(trial.seeds)} seeds of {max(trial.seconds):.0f} s or less on one thread of "
              f"{trial.machine['processor']}; torch {versions['torch']}, variorum {versions['variorum']}."]  # fmt: skip
    return lines
