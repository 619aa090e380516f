"""Hooks: every named point tells something, and listening changes nothing."""

from variorum.core import listen, points
from variorum.testing.compared import same
from variorum.testing.example import Example
from variorum.testing.needs import CALLED, MODULE, TAPS
from variorum.testing.suite import promise


@promise(MODULE, CALLED, TAPS)
def taps_tell(example: Example) -> None:
    """Whoever listens at a point of the part is told a tensor there, and the answers stay what they were."""
    size = example.size(7)
    rows, part = example.rows(size, size), example.build()
    plain = example.equal(part, rows, size)
    for tap in part.taps:
        assert tap in points(part), f"{tap} is not among the points of the part"
        with listen(part, tap) as told:
            heard = example.equal(part, rows, size)
        assert told[tap], f"nothing is told at {tap}"
        assert all(value.isfinite().all() for value in told[tap]), f"what is told at {tap} is not finite"
        for found, wanted in zip(heard, plain, strict=True):
            same(found, wanted, f"listening at {tap} changed the answers")
    same(example.equal(part, rows, size)[0], plain[0], "after listening the answers are others", 0)
