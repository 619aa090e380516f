"""Judging on the valid split: what is kept, when it stops, how much of the split is looked at."""

from contextlib import nullcontext
from types import MappingProxyType

import pytest
import torch
from torch import nn

from variorum.core import Head, VariorumError, isolated
from variorum.data.task import Batch, Task
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.objectives.squared_error import SquaredError
from variorum.train.descent import Descent
from variorum.train.judge import Judge, Verdict
from variorum.train.learner import Learner
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run
from variorum.train.schedule import WarmupConstant


@pytest.fixture
def drifting():
    """A model that is one number, drawn up by its objective without end, and a task whose score is best on the way."""
    with isolated():

        class OneNumber(Head):
            writes = "value"

            def __init__(self) -> None:
                super().__init__()
                self.value = nn.Parameter(torch.zeros(()))

            def forward(self, inputs: torch.Tensor) -> torch.Tensor:
                return self.value.expand(len(inputs))

        class DriftTask(Task):
            """The score is the distance of the number from ``best``."""

            reads = "numbers"
            metric = "distance"
            facts = MappingProxyType({})
            objective = SquaredError.spec()

            def __init__(
                self, *, best: float = 0.5, batches: int = 3, higher: bool = False, fault: float = 0.0
            ) -> None:
                self.best, self.batches, self.fault = best, batches, fault
                self.higher_is_better = higher

            def batch(self, step: int, size: int, seed: int) -> Batch:
                return Batch({"inputs": torch.zeros(size)}, torch.full((size,), 100.0))

            def held_out(self, split: str, size: int):
                return (
                    Batch({"inputs": torch.zeros(size)}, torch.full((size,), float(i))) for i in range(self.batches)
                )

            def scores(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
                distance = (outputs - self.best).abs() + self.fault
                return -distance if self.higher_is_better else distance

        yield OneNumber.spec(), DriftTask


def train(spec, task, steps=10, **choices):
    """A step moves the number up by 0.1."""
    events = []
    recipe = Descent(
        batch=2,
        report=1,
        schedule=WarmupConstant.spec(warmup=0.0),
        optimizer=AdamW.spec(lr=0.1, weight_decay=0.0),
        **choices,
    )
    return recipe.train(spec, task, Run(Budget(steps=steps), report=events.append)), events


@pytest.mark.parametrize("higher", [False, True])
def test_the_best_parameters_are_kept(drifting, higher):
    spec, task = drifting
    model, events = train(spec, task(higher=higher), evaluations=10)
    assert model.value.item() == pytest.approx(0.5, abs=1e-3) and not model.training
    sign = -1 if higher else 1
    assert [sign * event["valid"] for event in events] == pytest.approx(
        [abs(0.1 * i - 0.5) for i in range(1, 11)], abs=1e-3
    )


def test_the_last_parameters_are_kept_if_asked_for(drifting):
    spec, task = drifting
    assert train(spec, task(), evaluations=10, keep="last")[0].value.item() == pytest.approx(1.0, abs=1e-3)
    assert train(spec, task(), evaluations=0)[0].value.item() == pytest.approx(1.0, abs=1e-3)


def test_patience_ends_the_training(drifting):
    spec, task = drifting
    model, events = train(spec, task(), evaluations=10, patience=2)
    assert [event["step"] for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert model.value.item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("evaluations", "steps", "at"), [(0, 10, []), (1, 10, [10]), (3, 10, [4, 7, 10]), (20, 4, [1, 2, 3, 4])]
)
def test_judgements_are_spread_evenly(drifting, evaluations, steps, at):
    spec, task = drifting
    _, events = train(spec, task(), steps=steps, evaluations=evaluations)
    assert [event["step"] for event in events if "valid" in event] == at


def test_a_score_that_is_no_number_is_never_the_best(drifting):
    spec, task = drifting
    model, events = train(spec, task(fault=float("nan")), evaluations=10)
    assert model.value.item() == pytest.approx(1.0, abs=1e-3) and len(events) == 10


def test_an_empty_valid_split_is_refused(drifting):
    spec, task = drifting
    with pytest.raises(VariorumError, match=r"rows in its valid split.*evaluations=0"):
        train(spec, task(batches=0), evaluations=1)
    train(spec, task(batches=0), evaluations=0)


@pytest.mark.parametrize(("trained", "stride"), [(0, 12), (1, 12), (2, 12), (4, 6), (5, 6), (10, 3), (24, 1), (99, 1)])
def test_how_much_of_a_long_split_is_looked_at(drifting, trained, stride):
    assert Judge(drifting[1](batches=12), 2).stride(trained) == stride


def test_the_same_batches_are_looked_at_each_time(drifting):
    spec, task = drifting
    seen = []
    task.scores = lambda self, outputs, targets: seen.append(int(targets[0])) or targets
    train(spec, task(batches=12), evaluations=2)
    assert seen == [0, 6, 0, 6]  # 5 steps before the first judgement: about two batches


def test_dropout_is_off_when_judged_and_on_after(random_spec, task):
    learner = Learner(random_spec.fill(**task.facts).build(), CrossEntropy()).train()
    assert len({score(learner, task) for _ in range(3)}) == 1
    assert learner.training and learner.model.embed.dropout.training


def test_a_judgement_that_comes_too_late_is_given_up(spec, task):
    learner = Learner(spec.fill(**task.facts).build(), CrossEntropy()).train()
    assert score(learner, task) == pytest.approx(8, abs=1)
    assert score(learner, task, late=True) is None and learner.training


def score(learner, task, late=False):
    return Judge(task, 4).score(learner, 1, autocast=nullcontext, to_device=lambda x: x, late=lambda: late)


def test_verdict():
    verdict = Verdict()
    assert verdict.take(0.5, 1, higher_is_better=True) and verdict.take(0.6, 2, higher_is_better=True)
    assert not verdict.take(0.6, 3, higher_is_better=True) and not verdict.take(float("nan"), 4, higher_is_better=True)
    assert (verdict.best, verdict.best_step, verdict.stale) == (0.6, 2, 2)
