"""What a search may change about a candidate: its size, and the arguments that its recipe says are worth trying."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from variorum.compare import words
from variorum.compare.candidates import Candidate
from variorum.core import Spec

SIZE = "size"
Params = Mapping[str, Any]
"""One configuration: the size's number, and values by their path in the recipe."""


def space(candidate: Candidate) -> dict[str, BaseDistribution]:
    """What may be chosen. What the candidate begins with always may."""
    found = {path: _with(distribution, candidate.recipe.at(path))
             for path, distribution in candidate.recipe.cls.searched.items()}  # fmt: skip
    if len(candidate.specs) > 1:
        found = {SIZE: CategoricalDistribution(tuple(range(len(candidate.specs)))), **found}
    return found


def first(candidate: Candidate) -> Iterator[dict[str, Any]]:
    """The configurations to begin with: each size, trained as the candidate is without a search."""
    usual = {path: candidate.recipe.at(path) for path in candidate.recipe.cls.searched}
    for size in range(len(candidate.specs)):
        yield {SIZE: size, **usual} if len(candidate.specs) > 1 else usual


def configurations(candidate: Candidate) -> float:
    """How many there are; infinity where an argument is a number from a range of reals."""
    return prod(_values(distribution) for distribution in space(candidate).values())


def chosen(trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The configuration of a trial: what it was given, or what its study's sampler proposes."""
    return {name: _suggested(trial, name, distribution) for name, distribution in space.items()}


def _suggested(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def configured(candidate: Candidate, params: Params) -> tuple[Spec[Any], Spec[Any]]:
    """The spec and the recipe of a configuration."""
    recipe = candidate.recipe
    for path, value in params.items():
        if path != SIZE:
            recipe = recipe.replace(path, value)
    return candidate.specs[params.get(SIZE, 0)], recipe


def says(candidate: Candidate, params: Params) -> str:
    """A configuration in words: ``size 2 of 3, lr 0.00120, batch 32``."""
    told = [f"size {params[SIZE] + 1} of {len(candidate.specs)}"] if SIZE in params else []
    told += [f"{path.rpartition('.')[2]} {words.number(value) if isinstance(value, float) else value}"
             for path, value in params.items() if path != SIZE]  # fmt: skip
    return ", ".join(told) or "nothing to choose"


def _with(distribution: BaseDistribution, value: Any) -> BaseDistribution:
    """The distribution, made wide enough for the value."""
    if isinstance(distribution, CategoricalDistribution):
        return (
            distribution if value in distribution.choices else CategoricalDistribution((value, *distribution.choices))
        )
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = min(distribution.low, value), max(distribution.high, value)
    if isinstance(distribution, IntDistribution):
        return IntDistribution(int(low), int(high), log=distribution.log, step=distribution.step)
    return FloatDistribution(low, high, log=distribution.log, step=distribution.step)


def _values(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    return float("inf")
