"""Cross-entropy against its definition."""

import pytest
import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.objectives.cross_entropy import CrossEntropy


def naive(logits: Tensor, targets: Tensor, smoothing: float, ignore: int) -> tuple[float, int]:
    """The definition, one target at a time."""
    total, count = 0.0, 0
    for scores, target in zip(logits.flatten(0, -2), targets.flatten().tolist(), strict=True):
        if target == ignore:
            continue
        wanted = torch.full_like(scores, smoothing / len(scores))
        wanted[target] += 1 - smoothing
        total -= float((wanted * (scores.exp() / scores.exp().sum()).log()).sum())
        count += 1
    return total, count


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 2, 2)])
def test_definition(smoothing, shape):
    torch.manual_seed(0)
    logits = torch.randn(*shape, 7, dtype=torch.float64)
    targets = torch.randint(0, 7, shape)
    targets.flatten()[1] = -100
    loss = CrossEntropy(label_smoothing=smoothing)(logits, targets)
    total, count = naive(logits, targets, smoothing, -100)
    assert loss.total.item() == pytest.approx(total, rel=1e-12)
    assert loss.count.item() == count == targets.numel() - 1
    assert loss.mean.item() == pytest.approx(total / count, rel=1e-12)


def test_parts_add_up_to_the_whole():
    torch.manual_seed(0)
    logits, targets = torch.randn(10, 4, dtype=torch.float64), torch.randint(0, 4, (10,))
    targets[[2, 8, 9]] = 3
    objective = CrossEntropy(label_smoothing=0.2, ignore=3)
    whole, parts = objective(logits, targets), [objective(logits[s], targets[s]) for s in (slice(0, 3), slice(3, 10))]
    assert sum(part.total for part in parts).item() == pytest.approx(whole.total.item(), rel=1e-14)
    assert sum(part.count for part in parts).item() == whole.count.item() == (targets != 3).sum()


def test_no_gradient_comes_from_what_is_no_target():
    logits = torch.randn(4, 3, requires_grad=True)
    CrossEntropy(label_smoothing=0.1)(logits, torch.tensor([0, -100, 2, -100])).total.backward()
    assert (logits.grad[[1, 3]] == 0).all() and (logits.grad[[0, 2]] != 0).all()


def test_no_target_at_all():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = CrossEntropy()(logits, torch.tensor([-100, -100]))
    loss.mean.backward()
    assert loss.total == 0 and loss.count == 0 and loss.mean == 0 and (logits.grad == 0).all()


def test_half_precision_is_summed_in_single():
    # In bfloat16 the sum of 4096 losses of log 2 would stop growing at 256 or so.
    loss = CrossEntropy()(torch.zeros(4096, 2, dtype=torch.bfloat16), torch.zeros(4096, dtype=torch.int64))
    assert loss.total.dtype == torch.float32 and loss.mean.item() == pytest.approx(0.693147, rel=1e-5)


@pytest.mark.parametrize(
    "targets", [torch.zeros(3, dtype=torch.int64), torch.zeros(2), torch.zeros(2, 1, dtype=torch.int64)]
)
def test_targets_that_do_not_fit_are_refused(targets):
    with pytest.raises(VariorumError, match="int64 targets of shape"):
        CrossEntropy()(torch.zeros(2, 5), targets)


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(IndexError):
        CrossEntropy()(torch.zeros(1, 5), torch.tensor([5]))


def test_smoothing_out_of_range_is_refused():
    with pytest.raises(VariorumError, match="label_smoothing"):
        CrossEntropy(label_smoothing=1.0)
