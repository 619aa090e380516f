"""Every registered part keeps every promise that it makes."""

from variorum import testing
from variorum.compress.compressor import Compressor
from variorum.core import Registered, registered
from variorum.testing.collect import applicable
from variorum.testing.ledger import ledger
from variorum.testing.suite import CHECKS


@testing.parametrize()
def test_contract(part: type[Registered], check: str) -> None:
    testing.hold(part, check)


def test_the_ledger_names_checks_that_are_made() -> None:
    """A known failure that nothing looks at any more would stand for ever."""
    for part, check in ledger():
        assert part in registered(), f"the ledger knows {part}, which is not registered"
        assert check in applicable(part, slow=True), f"the ledger knows {check} of {part}, which is not made"


def test_every_check_is_made_of_some_part() -> None:
    made = {check for part in registered().values() for check in applicable(part, slow=True)}
    idle = set(CHECKS) - made
    if not registered(Compressor):  # then those of a plugin are checked, in tests/house/test_plugin.py
        idle -= {check for check in idle if CHECKS[check].run.__module__.endswith(".compressors")}
    assert not idle
