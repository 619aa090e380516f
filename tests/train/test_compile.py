"""A step of a compiled model is a step of the model."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from variorum.core import Channel, isolated
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.systems.formal_algorithms_transformers import decoder
from variorum.train.auxiliary import auxiliary
from variorum.train.learner import Learner, gradient
from variorum.train.optimizer import AdamW


def step(task, backend):
    """Loss and parameters after one step of the plain GPT; listened to, as in training."""
    torch.manual_seed(0)
    learner = Learner(decoder(dim=32, depth=2, heads=4, length=task.length).fill(**task.facts).build(), CrossEntropy())
    optimizer = AdamW().over(learner)
    names = [name for name, _ in learner.named_parameters()]
    with auxiliary(learner) as drain:
        if backend is not None:
            learner.model.compile(backend=backend, fullgraph=True)
        found = gradient(
            learner, [task.batch(0, 4, 0)], autocast=nullcontext, backward=torch.Tensor.backward, drain=drain
        )
    gradients = {name: p.grad.clone() for name, p in learner.named_parameters()}
    optimizer.step()
    assert names == [name for name, _ in learner.named_parameters()]
    return found.loss, gradients


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_equals_eager(task, backend):
    loss, gradients = step(task, None)
    try:
        compiled, others = step(task, backend)
    finally:
        torch._dynamo.reset()
    torch.testing.assert_close(compiled, loss, rtol=1e-6, atol=0)
    for name, value in gradients.items():
        torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-6)


def test_after_compiling_parts_are_named_as_before():
    """Dynamo replaces nn.Module's constructor for good; a part that has none of its own has no arguments still."""
    torch.compile(nn.ReLU(), backend="eager")(torch.ones(1))
    torch._dynamo.reset()
    with isolated():

        class NothingToSay(Channel):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x

        assert NothingToSay.spec().open == ()
