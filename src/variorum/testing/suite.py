"""What a check is, and how a part is held to all of them."""

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from variorum.core import Registered, Spec, VariorumError
from variorum.core.errors import nearest
from variorum.testing.example import Example, expand
from variorum.testing.facts import named
from variorum.testing.ledger import Known, ledger

LONGEST = 1000
"""Characters of a message that a report keeps; exporters say much more."""
BUILDS = "builds"
"""The name of the check that comes before all others: the example can be built."""


class Need(NamedTuple):
    """A condition for a check to apply. unmet: why it does not."""

    unmet: str
    met: Callable[[Example], bool]


@dataclass(frozen=True)
class Check:
    """One promise. ``run`` raises an exception that says what is broken."""

    name: str
    run: Callable[[Example], None]
    needs: tuple[Need, ...]
    slow: bool

    @property
    def says(self) -> str:
        """The promise in one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    def unmet(self, example: Example) -> str | None:
        """Why the check does not apply to an example, or None if it does."""
        return next((need.unmet for need in self.needs if not need.met(example)), None)


class Outcome(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "known failure"
    NOT_APPLICABLE = "does not apply"


@dataclass(frozen=True)
class Result:
    """What came of one check of one example. message: what is broken, or why the check does not apply."""

    check: str
    example: str
    outcome: Outcome
    message: str = ""


@dataclass(frozen=True)
class Report:
    """What came of all checks of a part."""

    part: str
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """The promises that are broken and not known to be."""
        return tuple(result for result in self.results if result.outcome is Outcome.FAILED)

    @property
    def ok(self) -> bool:
        """Is every promise kept, but for the known failures?"""
        return not self.failures

    def __str__(self) -> str:
        told = [r for r in self.results if r.outcome is not Outcome.NOT_APPLICABLE]
        lines = [f"{r.check:<32} {r.example:<16} {r.outcome}{': ' if r.message else ''}{r.message}" for r in told]
        return "\n".join([f"{self.part}: {len(told)} checks, {len(self.failures)} broken", *lines])


CHECKS: dict[str, Check] = {}
"""All checks by name, in the order in which they are made."""


def promise(*needs: Need, slow: bool = False) -> Callable[[Callable[[Example], None]], Callable[[Example], None]]:
    """Register a check: a function of an example that raises when the promise is broken; its name is the check's."""

    def bind(run: Callable[[Example], None]) -> Callable[[Example], None]:
        name = run.__name__.replace("_", "-")
        CHECKS[name] = Check(name, run, needs, slow)
        return run

    return bind


def load() -> dict[str, Check]:
    """All checks of the suite: every module of ``testing.checks`` adds its own."""
    package = importlib.import_module("variorum.testing.checks")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return CHECKS


def check(
    part: "type[Registered] | Spec[Any] | str", *, slow: bool = False, only: Collection[str] | None = None
) -> Report:
    """Hold a part, given as class, spec or registered name, to everything that it promises.

    slow: also the checks that compile or export it.     only: names of the checks to make; an unknown one raises
    :class:`VariorumError`.
    """
    chosen = _chosen(slow, only)
    cls, _ = named(part)
    results = []
    for label, examples in built(part):
        if isinstance(examples, Exception):
            results.append(Result(BUILDS, label, Outcome.FAILED, _says(examples)))
            continue
        results.append(Result(BUILDS, label, Outcome.PASSED))
        results.extend(_result(check, example) for example in examples for check in chosen)
    return Report(cls.__name__, tuple(_settle(cls.__name__, results)))


def _chosen(slow: bool, only: Collection[str] | None) -> list[Check]:
    if only is None:
        return [check for check in CHECKS.values() if slow or not check.slow]
    for name in only:
        if name not in CHECKS and name != BUILDS:
            raise VariorumError("check", expected="the name of a check", found=repr(name), do=nearest(name, CHECKS))
    return [CHECKS[name] for name in only if name != BUILDS]


def built(part: "type[Registered] | Spec[Any] | str") -> Iterator[tuple[str, list[Example] | Exception]]:
    """The examples that come of each spec of a part, by its number, or what was raised instead."""
    for index, make in enumerate(named(part)[1]):
        try:
            yield str(index), list(expand(make(), str(index)))
        except Exception as error:  # whatever a part raises is what the report is for
            yield str(index), error


def _result(check: Check, example: Example) -> Result:
    try:
        unmet = check.unmet(example)
        if unmet is not None:
            return Result(check.name, example.label, Outcome.NOT_APPLICABLE, unmet)
        check.run(example)
    except Exception as error:  # whatever a part raises is what the report is for
        return Result(check.name, example.label, Outcome.FAILED, _says(error))
    return Result(check.name, example.label, Outcome.PASSED)


def _settle(part: str, results: list[Result]) -> Iterator[Result]:
    """Failures that the ledger knows are known; a known failure that no longer fails is a failure."""
    known = ledger()
    broken = {result.check for result in results if result.outcome is Outcome.FAILED}
    made = {result.check for result in results if result.outcome is not Outcome.NOT_APPLICABLE}
    for result in results:
        entry: Known | None = known.get((part, result.check))
        if entry is not None and result.outcome is Outcome.FAILED:
            yield Result(result.check, result.example, Outcome.KNOWN, f"{entry.reason} Lifted by: {entry.lifted_by}")
        else:
            yield result
    for name in sorted(made - broken):
        if (part, name) in known:
            yield Result(name, "all", Outcome.FAILED, "the ledger says that this fails, but it passes: strike it out")


def _says(error: Exception) -> str:
    """An exception in words: the message of an assertion or of our own error, else its type too."""
    text = str(error).strip()[:LONGEST] or type(error).__name__
    return text if isinstance(error, AssertionError | VariorumError) else f"{type(error).__name__}: {text}"
