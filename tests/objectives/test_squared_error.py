"""Squared error against its definition."""

import pytest
import torch

from variorum.core import VariorumError
from variorum.objectives.squared_error import SquaredError

NAN = float("nan")


def test_definition():
    loss = SquaredError()(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0.0, NAN, 2.0]))
    assert loss.total == 10 and loss.count == 2 and loss.mean == 5


def test_a_last_dimension_of_one_is_none():
    outputs, targets = torch.randn(4, 3, 1), torch.randn(4, 3)
    assert SquaredError()(outputs, targets).total == SquaredError()(outputs[..., 0], targets).total


def test_a_missing_target_gives_no_gradient():
    outputs = torch.tensor([1.0, 2.0], requires_grad=True)
    SquaredError()(outputs, torch.tensor([NAN, 0.0])).total.backward()
    assert outputs.grad.tolist() == [0.0, 4.0]


def test_no_target_at_all():
    outputs = torch.ones(2, requires_grad=True)
    loss = SquaredError()(outputs, torch.tensor([NAN, NAN]))
    loss.mean.backward()
    assert loss.mean == 0 and (outputs.grad == 0).all()


def test_an_output_that_is_no_number_is_not_hidden():
    assert SquaredError()(torch.tensor([NAN]), torch.tensor([1.0])).total.isnan()


def test_half_precision_is_summed_in_single():
    loss = SquaredError()(torch.ones(4096, dtype=torch.bfloat16), torch.zeros(4096))
    assert loss.total.dtype == torch.float32 and loss.total == 4096


@pytest.mark.parametrize("shape", [(1,), (2, 2), (3,)])
def test_nothing_is_broadcast(shape):
    with pytest.raises(VariorumError, match="targets of shape"):
        SquaredError()(torch.zeros(2), torch.zeros(shape))
