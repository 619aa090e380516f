"""The public contract suite: every registered part is held to what it declares (may import any room).

>>> from variorum import testing
>>> print(testing.check("Attention"))
"""

from variorum.testing.collect import hold, parametrize
from variorum.testing.drivers import Driver, Stream, drives
from variorum.testing.example import Example
from variorum.testing.facts import FACTS, WIDTHS
from variorum.testing.raw import raw
from variorum.testing.suite import CHECKS, Check, Need, Outcome, Report, Result, check, load, promise

load()

__all__ = [
    "CHECKS",
    "FACTS",
    "WIDTHS",
    "Check",
    "Driver",
    "Example",
    "Need",
    "Outcome",
    "Report",
    "Result",
    "Stream",
    "check",
    "drives",
    "hold",
    "parametrize",
    "promise",
    "raw",
]
