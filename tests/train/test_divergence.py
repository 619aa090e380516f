"""Losses and gradients that are not finite."""

import pytest
import torch

from variorum.core import VariorumError
from variorum.train import loop
from variorum.train.checkpoint import Checkpoint
from variorum.train.descent import Descent
from variorum.train.kept import FILE
from variorum.train.learner import Gradient
from variorum.train.ledger import Ledger
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run


def note(ledger, step, loss, norm=1.0):
    ledger.note(step, Gradient(torch.tensor(loss), None, torch.tensor(4)), torch.tensor(norm))


def test_the_first_bad_step_is_named():
    ledger = Ledger()
    for step, loss in enumerate([1.0, 2.0, float("nan"), float("nan")], start=11):
        note(ledger, step, loss)
    with pytest.raises(VariorumError, match=r"loss of step 13: expected a finite number, found nan.*learning rate"):
        ledger.read(1.0)


def test_a_bad_gradient_behind_a_good_loss_is_named():
    ledger = Ledger()
    note(ledger, 5, 1.0, float("inf"))
    with pytest.raises(VariorumError, match="norm of the gradient of step 5: expected a finite number, found inf"):
        ledger.read(1.0)


def test_rates_are_those_of_the_steps_since_the_last_reading():
    ledger = Ledger()
    ledger.start(10.0)
    note(ledger, 1, 3.0)
    note(ledger, 2, 2.0)
    assert ledger.read(12.0) == {
        "step": 2, "loss": 2.0, "gradient_norm": 1.0, "seconds": 12.0, "targets_per_second": 4.0,
    }  # fmt: skip
    assert ledger.read(13.0) == {}


def test_what_is_not_finite_is_not_kept(spec, task, tmp_path, monkeypatch):
    """A checkpoint is due after every step, a report is not: the loss is read before it is written."""
    recipe = Descent(batch=4, evaluations=0, report=100)
    recipe.train(spec, task, Run(Budget(steps=3), folder=tmp_path, save=0.0))
    plain = loop.gradient

    def poisoned(*args, **rest):
        return plain(*args, **rest)._replace(loss=torch.tensor(float("nan")))

    monkeypatch.setattr(loop, "gradient", poisoned)
    with pytest.raises(VariorumError, match="loss of step 4"):
        recipe.train(spec, task, Run(Budget(steps=9), folder=tmp_path, save=0.0))
    assert Checkpoint.read(tmp_path / FILE).record["step"] == 3


@pytest.mark.parametrize("report", [1, 10])
def test_a_rate_far_too_high(spec, task, tmp_path, report):
    """With a rate like this the parameters overflow; the step is named although it was not reported."""
    recipe = Descent(batch=4, evaluations=0, clip=None, report=report, optimizer=AdamW.spec(lr=1e30))
    with pytest.raises(VariorumError, match=r"of step (2|3): expected a finite number.*Lower the learning rate"):
        recipe.train(spec, task, Run(Budget(steps=20), folder=tmp_path))
    assert not (tmp_path / FILE).exists()
