"""The gradient of a step: in pieces as in one, however uneven."""

from contextlib import nullcontext

import pytest
import torch

from variorum.core import Layout
from variorum.data.task import Batch
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.train.learner import Learner, gradient, single

ROWS = [[5, 2], [9], [1, 1, 3, 4], [6]]
"""Lengths of the rows of four pieces."""


def pieces():
    """Packed rows of uneven length; targets are missing here and there, and one piece has none at all."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for number, lengths in enumerate(ROWS):
        ids, targets = (torch.randint(0, 11, (sum(lengths),), generator=generator) for _ in range(2))
        targets[torch.rand(sum(lengths), generator=generator) < (0.3 if number < 3 else 2)] = -100
        found.append(Batch({"inputs": ids, "layout": Layout.ragged(lengths)}, targets))
    return found


def together(batches):
    """One batch of all rows."""
    lengths = [n for batch in batches for n in batch.inputs["layout"].lengths]
    ids = torch.cat([batch.inputs["inputs"] for batch in batches])
    return Batch({"inputs": ids, "layout": Layout.ragged(lengths)}, torch.cat([batch.targets for batch in batches]))


def learner(spec, dtype):
    torch.manual_seed(0)
    return Learner(spec.fill(vocab=11, length=16).build(), CrossEntropy()).to(dtype)


def take(learner, batches):
    found = gradient(learner, batches, autocast=nullcontext, backward=torch.Tensor.backward, drain=lambda: None)
    return found, {name: p.grad.clone() for name, p in learner.named_parameters()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_pieces_give_the_gradient_of_the_whole(spec, dtype, tolerance):
    model = learner(spec, dtype)
    found, parts = take(model, pieces())
    known, whole = take(model, [together(pieces())])
    assert found.targets == known.targets == (together(pieces()).targets != -100).sum()
    torch.testing.assert_close(found.loss, known.loss, rtol=tolerance, atol=tolerance)
    assert parts.keys() == whole.keys() and max(g.abs().max() for g in whole.values()) > 0.05
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=tolerance, atol=tolerance)


def test_the_mean_of_the_pieces_means_would_be_another_gradient(spec):
    """The check above can fail: weighting pieces alike is wrong by far more than its tolerance."""
    model = learner(spec, torch.float64)
    _, whole = take(model, [together(pieces())])
    means = [take(model, [piece])[1] for piece in pieces()]
    naive = torch.stack([mean["model.head.linear.weight"] for mean in means]).mean(0)
    assert (naive - whole["model.head.linear.weight"]).abs().max() > 1e-3


def test_gradients_of_a_step_before_are_forgotten(spec):
    model = learner(spec, torch.float32)
    _, once = take(model, pieces())
    _, twice = take(model, pieces())
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_no_target_at_all_gives_no_gradient(spec):
    found, gradients = take(learner(spec, torch.float32), pieces()[3:])
    assert found.targets == 0 and found.loss == 0 and all((g == 0).all() for g in gradients.values())


def test_answers_of_half_precision_are_made_single():
    half, whole = torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.int64)
    told = single({"a": (half, whole), "b": [half], "c": "words"})
    assert told["a"][0].dtype == told["b"][0].dtype == torch.float32
    assert told["a"][1] is whole and told["c"] == "words"
