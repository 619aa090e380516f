"""The choice of precision, and what bf16 leaves in fp32."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from variorum.objectives.cross_entropy import CrossEntropy
from variorum.train import precision
from variorum.train.checkpoint import Checkpoint
from variorum.train.descent import Descent
from variorum.train.kept import FILE
from variorum.train.learner import Learner
from variorum.train.precision import Choice, Precision, choose, judge
from variorum.train.recipe import Budget, Run

AUTOCASTS = {Precision.FP32: nullcontext, Precision.BF16: lambda: torch.autocast("cpu", dtype=torch.bfloat16)}


@pytest.fixture
def learner(spec, task):
    return Learner(spec.fill(**task.facts).build(), CrossEntropy()).train()


@pytest.mark.parametrize(
    ("single", "half", "chosen"), [(1.0, 0.5, "bf16"), (1.0, 0.94, "bf16"), (1.0, 0.96, "32"), (1.0, 2.0, "32")]
)
def test_the_faster_is_chosen_if_it_is_worth_it(single, half, chosen):
    choice = judge(single, half, 5)
    assert (
        choice.precision == chosen and "1000 ms in fp32" in choice.why and f"{1000 * half:.4g} ms in bf16" in choice.why
    )


def test_it_is_the_median_that_counts(learner, task, monkeypatch):
    """One pass that was disturbed does not decide; the first, which warms up, does not count."""
    times = iter([9.0, 0.1, 1.0, 0.6, 1.0, 0.6, 1.0, 50.0, 1.0, 0.6, 0.01, 0.6])
    monkeypatch.setattr(precision, "_time", lambda *args: next(times))
    assert choose(learner, task.batch(0, 4, 0), AUTOCASTS, seconds=10).precision is Precision.BF16
    assert next(times, None) is None


def test_measuring_leaves_no_trace(learner, task):
    learner.model.register_buffer("visits", torch.zeros(1))
    learner.model.register_forward_hook(lambda module, _, out: (module.visits.add_(1), out)[1])
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    choice = choose(learner, task.batch(0, 4, 0), AUTOCASTS, seconds=10)
    assert isinstance(choice, Choice) and "medians of 5" in choice.why
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
    assert all(p.grad is None for p in learner.parameters()) and torch.equal(torch.get_rng_state(), state)


def test_without_time_to_compare_it_is_fp32(learner, task):
    choice = choose(learner, task.batch(0, 4, 0), AUTOCASTS, seconds=0)
    assert choice.precision is Precision.FP32 and "cannot be compared" in choice.why


def test_a_model_that_does_not_run_in_bf16_is_trained_in_fp32(learner, task):
    def refuse(module, inputs):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no such kernel")

    learner.model.register_forward_pre_hook(refuse)
    choice = choose(learner, task.batch(0, 4, 0), AUTOCASTS, seconds=10)
    assert choice == (Precision.FP32, "the model does not run in bf16: no such kernel")


def test_a_model_that_does_not_run_at_all_says_so(learner, task):
    def refuse(module, inputs):
        raise RuntimeError("broken")

    learner.model.register_forward_pre_hook(refuse)
    with pytest.raises(RuntimeError, match="broken"):
        choose(learner, task.batch(0, 4, 0), AUTOCASTS, seconds=10)


def test_bf16_keeps_parameters_gradients_and_losses_in_fp32(spec, task, tmp_path):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, _, out: seen.append(out.dtype) if isinstance(module, nn.Linear) else None
    )
    try:
        events = []
        run = Run(Budget(steps=3), folder=tmp_path, report=events.append)
        model = Descent(batch=4, precision="bf16", evaluations=0, report=1).train(spec, task, run)
    finally:
        handle.remove()
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    found = Checkpoint.read(tmp_path / FILE)
    assert {t.dtype for t in found.tensors.values()} == {torch.float32} and found.record["precision"] == "bf16"
    # A step at this rate would be lost in a bfloat16 parameter.
    plain = []
    Descent(batch=4, evaluations=0, report=1).train(spec, task, Run(Budget(steps=3), report=plain.append))
    losses = [[event["loss"] for event in of] for of in (events, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2) and losses[0] != losses[1]


def test_auto_reports_why_and_is_remembered(spec, task, tmp_path):
    events = []
    recipe = Descent(batch=4, precision="auto", evaluations=0, report=1)
    recipe.train(spec, task, Run(Budget(steps=2), folder=tmp_path, report=events.append))
    assert events[0]["step"] == 0 and events[0]["precision"] in ("32", "bf16") and "ms" in events[0]["why"]
    assert Checkpoint.read(tmp_path / FILE).record["precision"] == events[0]["precision"]
    events.clear()
    recipe.train(spec, task, Run(Budget(steps=3), folder=tmp_path, report=events.append))
    assert [event["step"] for event in events] == [3]
