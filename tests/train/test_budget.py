"""Budgets: they are kept, and the schedule follows them."""

import time
from itertools import pairwise

import pytest

from variorum.core import Spec, VariorumError
from variorum.train.clock import Clock
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run
from variorum.train.schedule import WarmupCosine


def train(spec, task, budget, **choices):
    events = []
    Descent(batch=4, **choices).train(spec, task, Run(budget, report=events.append))
    return events


def test_steps_are_counted_exactly(spec, task):
    events = train(spec, task, Budget(steps=7), evaluations=0, report=1)
    assert [event["step"] for event in events] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("seconds", "steps"), [(8, 8), (8.5, 9), (0.1, 1)])
def test_seconds_are_kept_to_one_step(spec, task, machine, seconds, steps):
    events = train(spec, task, Budget(seconds=seconds), evaluations=0, report=1)
    assert [event["seconds"] for event in events] == list(range(1, steps + 1)) and machine.now == steps


@pytest.mark.parametrize("seconds", [20, 33.3, 60])
def test_time_is_kept_for_a_last_judgement(spec, task, machine, seconds):
    events = train(spec, task, Budget(seconds=seconds), report=1)
    assert sum("valid" in event for event in events) >= 9 and "valid" in events[-1]
    assert seconds - 3 <= machine.now <= seconds


def test_a_last_judgement_that_takes_too_long_is_given_up(spec, task, machine):
    def report(event):
        events.append(event)
        if event["step"] == 12:
            machine.batch = 100.0

    events = []
    Descent(batch=4, evaluations=3, report=1).train(spec, task, Run(Budget(seconds=18), report=report))
    assert ["valid" in event for event in events].count(True) == 2 and "valid" not in events[-1]
    assert 100 < machine.now < 100 + 18 + 1  # one batch late


def test_the_nearer_limit_counts(spec, task):
    started = time.perf_counter()
    assert train(spec, task, Budget(seconds=60, steps=3), evaluations=0)[-1]["step"] == 3
    assert train(spec, task, Budget(seconds=0.05, steps=10**6), evaluations=0)[-1]["step"] < 10**4
    assert time.perf_counter() - started < 30  # on the real clock


def test_at_least_one_step_is_taken(spec, task):
    assert [event["step"] for event in train(spec, task, Budget(seconds=1e-9))] == [1]


def test_the_rate_follows_the_steps(spec, task):
    schedule = WarmupCosine.spec(warmup=0.25, floor=0.1)
    events = train(
        spec, task, Budget(steps=8), evaluations=0, report=1, schedule=schedule, optimizer=AdamW.spec(lr=0.5)
    )
    rates = [event["lr"] / 0.5 for event in events]
    assert rates == pytest.approx([schedule.build().factor((step + 1) / 8) for step in range(8)])
    assert rates[0] == 0.5 and rates[1] == 1.0 and rates[-1] == pytest.approx(0.1)


def test_the_rate_follows_the_seconds(spec, task):
    events = train(spec, task, Budget(seconds=0.6), evaluations=0, report=1, schedule=WarmupCosine.spec(warmup=0.0))
    for event, later in pairwise(events):
        # The rate of the later step is set between the two reports.
        most, least = (WarmupCosine(warmup=0.0).factor(min(e["seconds"] / 0.6, 1)) for e in (event, later))
        assert least - 1e-9 <= later["lr"] / AdamW().lr <= most + 1e-9


@pytest.mark.parametrize("budget", [Budget(), Budget(seconds=0), Budget(seconds=-1), Budget(steps=0)])
def test_a_budget_without_a_limit_is_refused(spec, task, budget):
    with pytest.raises(VariorumError, match="positive number of seconds or of steps"):
        train(spec, task, budget)


def test_time_kept_for_the_last_judgement_is_spent_before():
    clock = Clock(Budget(seconds=100), before=60)
    assert clock.spent(5) == pytest.approx(0.6, abs=1e-3)
    clock.reserve = 20
    assert clock.spent(5) == pytest.approx(0.75, abs=1e-3)
    clock.reserve = 40
    assert clock.spent(5) == 1.0 and not clock.late
    clock.reserve = 200
    assert clock.spent(5) == 1.0


@pytest.mark.parametrize(
    "choices",
    [{"batch": 0}, {"batch": 6, "accumulate": 4}, {"evaluations": -1}, {"report": 0}, {"patience": 0}, {"clip": 0.0}],
)
def test_bad_choices_are_refused(choices):
    with pytest.raises(VariorumError, match="Descent"):
        Descent(**choices)


def test_spec_goes_through_json():
    spec = Descent.spec(precision="auto", keep="last", optimizer=AdamW.spec(betas=(0.8, 0.9)))
    again = Spec.from_json(spec.to_json())
    assert again == spec and again.build().optimizer.build().betas == (0.8, 0.9)
