"""Claims that were run and kept with the edition, and whether a fresh run bears the kept one out."""

from variorum.claims.trial import find_claim, run, stored


def bears_out(claim: str) -> None:
    """A fresh run of the first seed comes out like the kept runs of all seeds (CLAIMS.md has the figures).

    Machines differ in their arithmetic, and small runs with them: a figure may lie outside what the kept seeds found
    by as much as they differ among themselves, if it does not stand on the same side of its limit anyway.
    """
    kept = {trial.claim: trial for trial in stored()}[claim]
    found = run(find_claim(claim), seeds=1, told=lambda seed, seconds: None)
    for demand, verdict in kept.verdicts():
        values, (value,) = kept.figures[demand.figure], found.figures[demand.figure]
        spread = max(values) - min(values)
        near = min(values) - spread <= value <= max(values) + spread
        assert near or demand.verdict([value]) is verdict, f"{demand.figure}: {value:g}, kept {values}"
