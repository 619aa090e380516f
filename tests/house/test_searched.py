"""What recipes say is worth trying out is held to be possible: the checks bite."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from variorum import testing
from variorum.core import Part, Spec, VariorumError, isolated
from variorum.data.task import Task
from variorum.testing.collect import applicable
from variorum.train.descent import Descent
from variorum.train.recipe import Recipe, Run

DEFAULT, ENDS = "searched-paths-begin-at-the-default", "searched-ends-build"


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


def tried(space: Mapping[str, BaseDistribution]) -> type[Recipe]:
    """A recipe of the rates above 0 that wants these tried out."""

    class Tried(Recipe):
        searched = space

        def __init__(self, *, rate: float = 0.1, rounds: int = 5, inner: Spec[Descent] = Descent.spec()) -> None:
            if rate <= 0:
                raise VariorumError("Tried", expected="a rate above 0", found=str(rate), do="Choose another.")

        def train(self, spec: Spec[Any], task: Task, run: Run) -> Part:
            raise NotImplementedError

    return Tried


def broken(space: Mapping[str, BaseDistribution]) -> set[str]:
    return {result.check for result in testing.check(tried(space), only=[DEFAULT, ENDS]).failures}


def test_a_space_that_can_be_searched_passes() -> None:
    good = {
        "rate": FloatDistribution(0.01, 1, log=True),
        "rounds": IntDistribution(1, 9),
        "inner.batch": CategoricalDistribution((16, 32)),
        "inner.optimizer.lr": FloatDistribution(1e-4, 1e-2),
    }
    assert broken(good) == set()


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"rat": FloatDistribution(0.01, 1)}, {DEFAULT, ENDS}),
        ({"inner.optimizer.rate": FloatDistribution(0.01, 1)}, {DEFAULT, ENDS}),
        ({"rate": FloatDistribution(0.2, 1)}, {DEFAULT}),
        ({"rounds": CategoricalDistribution((1, 9))}, {DEFAULT}),
        ({"rate": FloatDistribution(0.0, 1)}, {ENDS}),
        ({"rounds": FloatDistribution(1.5, 9)}, {ENDS}),
        ({"inner.optimizer.lr": FloatDistribution(0.0, 1e-2)}, {ENDS}),
        ({"rate": FloatDistribution(0.1, 0.1)}, {ENDS}),
    ],
    ids=["no such path", "no such path deeper down", "default below", "default no choice", "an end refused",
         "an end of another type", "an end refused deeper down", "nothing to choose"],
)  # fmt: skip
def test_a_space_that_cannot_is_found_out(space: Mapping[str, BaseDistribution], expected: set[str]) -> None:
    assert broken(space) == expected


def test_recipes_without_a_space_are_not_asked() -> None:
    assert not {DEFAULT, ENDS} & set(applicable(tried({})))
    assert {DEFAULT, ENDS} <= set(applicable(Descent))
