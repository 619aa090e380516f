"""Losses that parts tell of their own."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from variorum.core import Channel, Layout, VariorumError, isolated
from variorum.data.task import Batch
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.train.auxiliary import auxiliary
from variorum.train.learner import Learner, gradient

LENGTHS = [5, 1, 3, 2]


@pytest.fixture
def telling():
    """Channels y = W x that tell 0.1 * mean over tokens of |y|^2."""
    with isolated():

        class TellingChannel(Channel):
            def __init__(self, dim: int, *, scalar: bool = True) -> None:
                super().__init__()
                self.linear, self.scalar = nn.Linear(dim, dim), scalar

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.linear(x)
                loss = 0.1 * y.square().sum(-1)
                self.tap("auxiliary", loss.mean() if self.scalar else loss)
                return y

        yield TellingChannel


def learner(spec, channel):
    torch.manual_seed(0)
    mixer = Attention.spec(heads=2, pattern=Causal.spec())
    spec = spec.but(blocks=[Block.spec(mixer=mixer, channels=channel)] * 2)
    return Learner(spec.fill(vocab=11, length=8).build(), CrossEntropy()).double()


def rows():
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 11, (sum(LENGTHS),), generator=generator)
    return ids, torch.randint(0, 11, (sum(LENGTHS),), generator=generator)


def take(model, batches):
    with auxiliary(model) as drain:
        found = gradient(model, batches, autocast=nullcontext, backward=torch.Tensor.backward, drain=drain)
    return found, {name: p.grad.clone() for name, p in model.named_parameters()}


def test_row_by_row_equals_the_packed_batch(spec, telling):
    model = learner(spec, telling.spec())
    ids, targets = rows()
    packed = Batch({"inputs": ids, "layout": Layout.ragged(LENGTHS)}, targets)
    alone = [
        Batch({"inputs": i[None]}, t[None]) for i, t in zip(ids.split(LENGTHS), targets.split(LENGTHS), strict=True)
    ]
    whole, wanted = take(model, [packed])
    parts, found = take(model, alone)
    assert whole.auxiliary > 0.01
    torch.testing.assert_close(parts.auxiliary, whole.auxiliary, rtol=1e-12, atol=0)
    torch.testing.assert_close(parts.loss, whole.loss, rtol=1e-12, atol=0)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-12, atol=1e-12)


def test_the_gradient_is_that_of_loss_plus_auxiliary(spec, telling):
    model = learner(spec, telling.spec())
    ids, targets = rows()
    batch = Batch({"inputs": ids, "layout": Layout.ragged(LENGTHS)}, targets)
    _, found = take(model, [batch])
    inner: list[torch.Tensor] = []
    handles = [
        m.linear.register_forward_hook(lambda _m, _i, y: inner.append(y))
        for m in model.modules()
        if isinstance(m, telling)
    ]
    model.zero_grad()
    loss = nn.functional.cross_entropy(model.model(ids, Layout.ragged(LENGTHS)), targets)
    (loss + sum(0.1 * y.square().sum(-1).mean() for y in inner)).backward()
    assert len(inner) == len(handles) == 2
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-12, atol=1e-12)


def test_a_part_visited_twice_tells_twice(telling):
    channel = telling(4)
    x = torch.randn(3, 4)
    with auxiliary(channel) as drain:
        channel(x)
        once = drain()
        channel(x)
        channel(x)
        twice = drain()
        assert drain() is None
    torch.testing.assert_close(twice, 2 * once)


def test_nothing_is_kept_when_nobody_trains(telling):
    channel = telling(4)
    with auxiliary(channel):
        assert channel.heard("auxiliary")
    assert not channel.heard("auxiliary")


def test_what_is_no_scalar_is_refused(telling):
    channel = telling(4, scalar=False)
    with auxiliary(channel) as drain:
        channel(torch.randn(3, 4))
        with pytest.raises(VariorumError, match=r"a scalar.*shape \(3,\)"):
            drain()


def test_training_reports_it_and_makes_it_small(spec, task, telling):
    from variorum.train.descent import Descent
    from variorum.train.recipe import Budget, Run

    spec = spec.but(blocks=[Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=telling.spec())])
    events = []
    Descent(evaluations=2, report=1, batch=4).train(spec, task, Run(Budget(steps=30), report=events.append))
    assert len(events) == 30
    assert 0 < events[-1]["auxiliary"] < 0.7 * events[0]["auxiliary"]
