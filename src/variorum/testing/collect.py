"""The suite under pytest: one test for each part and check."""

from collections.abc import Iterable
from typing import Any

from variorum.core import Registered, Spec, registered
from variorum.testing.example import Example
from variorum.testing.suite import BUILDS, CHECKS, Check, Outcome, Report, built, check


def applicable(part: "type[Registered] | Spec[Any] | str", *, slow: bool = False) -> list[str]:
    """Names of the checks that apply to some example of a part; of one that cannot be built only the first."""
    names = [BUILDS]
    for _, examples in built(part):
        for example in [] if isinstance(examples, Exception) else examples:
            chosen = [check for name, check in CHECKS.items() if (slow or not check.slow) and name not in names]
            names += [check.name for check in chosen if _applies(check, example)]
    return names


def _applies(check: Check, example: Example) -> bool:
    try:
        return check.unmet(example) is None
    except Exception:  # the check itself will tell
        return True


def parametrize(*parts: "type[Registered] | Spec[Any] | str") -> Any:
    """A pytest mark that calls a test with ``part`` and ``check`` for all checks of these parts, or of all registered
    ones; slow checks carry the mark ``slow``.

    >>> @testing.parametrize(MyMixer)
    ... def test_contract(part, check):
    ...     testing.hold(part, check)
    """
    import pytest

    chosen: Iterable[Any] = parts or registered().values()
    cases = [
        pytest.param(
            part,
            name,
            id=f"{_name(part)}-{name}",
            marks=[pytest.mark.slow] if name in CHECKS and CHECKS[name].slow else [],
        )
        for part in chosen
        for name in applicable(part, slow=True)
    ]
    return pytest.mark.parametrize(("part", "check"), cases)


def hold(part: "type[Registered] | Spec[Any] | str", name: str) -> Report:
    """Make one check of all examples of a part; raises AssertionError unless the promise is kept, or known broken."""
    report = check(part, slow=True, only=[name])
    told = [f"{r.check}, example {r.example}: {r.message}" for r in report.failures]
    assert report.ok, "\n".join([report.part, *told])
    assert any(r.outcome is not Outcome.NOT_APPLICABLE for r in report.results), f"{report.part}: no example"
    return report


def _name(part: "type[Registered] | Spec[Any] | str") -> str:
    return part.part if isinstance(part, Spec) else part if isinstance(part, str) else part.__name__
