"""Schedules: their shape over the budget."""

import math

import pytest

from variorum.core import Spec, VariorumError
from variorum.train.schedule import WarmupConstant, WarmupCosine


def test_cosine_rises_then_falls_to_the_floor():
    schedule = WarmupCosine(warmup=0.1, floor=0.2)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.1) == pytest.approx(1.0)
    assert schedule.factor(0.55) == pytest.approx(0.6)
    assert schedule.factor(0.1 + 0.9 / 3) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 3)) / 2)
    assert schedule.factor(1.0) == pytest.approx(0.2)
    factors = [schedule.factor(i / 100) for i in range(10, 101)]
    assert factors == sorted(factors, reverse=True)


def test_without_warmup_the_rate_is_whole_at_once():
    assert WarmupCosine(warmup=0.0).factor(1e-9) == pytest.approx(1.0)
    assert WarmupConstant(warmup=0.0).factor(1e-9) == 1.0


def test_constant_stays():
    schedule = WarmupConstant(warmup=0.5)
    assert [schedule.factor(p) for p in (0.25, 0.5, 0.75, 1.0)] == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("args", [{"warmup": 1.0}, {"warmup": -0.1}, {"floor": 1.5}])
def test_parts_out_of_range_are_refused(args):
    with pytest.raises(VariorumError, match="from 0 up to"):
        WarmupCosine(**args)


def test_spec_goes_through_json():
    spec = WarmupCosine.spec(warmup=0.2)
    assert Spec.from_json(spec.to_json()) == spec and spec.build().warmup == 0.2
