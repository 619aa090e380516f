"""Recipes: what they say is worth trying out can be tried."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from variorum.core import Spec
from variorum.testing.example import Example
from variorum.testing.suite import Need, promise
from variorum.train.recipe import Recipe

SEARCHED = Need("it is no recipe with anything to search", lambda e: bool(_space(e)))


@promise(SEARCHED)
def searched_paths_begin_at_the_default(example: Example) -> None:
    """Every path that a search may change leads to an argument, whose value is one that the search could choose."""
    for path, distribution in _space(example).items():
        default = example.spec.at(path)
        assert _within(default, distribution), f"{path} is {default!r}, which is not in {distribution}"


@promise(SEARCHED)
def searched_ends_build(example: Example) -> None:
    """With the least and the greatest, or any of the named values, of each path the recipe and its parts are built."""
    for path, distribution in _space(example).items():
        assert not distribution.single(), f"{path} leaves nothing to choose: {distribution}"
        for value in _ends(distribution):
            changed = example.spec.replace(path, value)
            assert changed.at(path) == value, f"{path} is {changed.at(path)!r} after it was set to {value!r}"
            assert Spec.from_json(changed.to_json()) == changed, f"{path} = {value!r} does not come back from JSON"
            for _, inner in changed.walk():
                if not inner.open:
                    inner.build()


def _space(example: Example) -> Mapping[str, BaseDistribution]:
    """What the recipe wants to have tried; of anything else nothing."""
    return example.cls.searched if issubclass(example.cls, Recipe) else {}


def _ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    """The extreme values of a range, or all choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution), f"{distribution} is of no kind that is known"
    return distribution.low, distribution.high


def _within(value: Any, distribution: BaseDistribution) -> bool:
    """Could a search choose the value?"""
    if isinstance(distribution, CategoricalDistribution):
        return any(value == choice and type(value) is type(choice) for choice in distribution.choices)
    low, high = _ends(distribution)
    whole = isinstance(value, int) or isinstance(distribution, FloatDistribution)
    return isinstance(value, int | float) and whole and bool(low <= value <= high)
