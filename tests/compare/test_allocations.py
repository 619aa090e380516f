"""Bytes of tensors are counted as long as they are alive, in the forward pass and in the backward pass."""

import pytest
import torch
from torch import Tensor

from variorum.compare.allocations import Allocations, Exhausted

MB = 10**6


def test_what_lives_is_counted_and_what_is_gone_is_not() -> None:
    before = torch.ones(MB)
    with Allocations() as taken:
        kept = before * 2
        for _ in range(5):
            passing = before + 1
            del passing
        assert taken.alive == 4 * MB
    assert taken.peak == 8 * MB
    assert kept.shape == (MB,)


def test_views_and_work_in_place_take_nothing() -> None:
    x = torch.ones(1000, 1000)
    with Allocations() as taken:
        x.mul_(2).t()[3:].unsqueeze(0).expand(5, -1, -1)
        x[::2] += 1
    assert taken.peak == 0


def test_what_is_saved_for_the_backward_pass_lives_until_it() -> None:
    weight = torch.ones(MB, requires_grad=True)
    with Allocations() as taken:
        out = weight.exp().sin().sum()  # exp and sin save their result and their input, which are one tensor
        assert taken.alive == pytest.approx(4 * MB, abs=100)
        out.backward()
    assert weight.grad is not None
    passing, lasting = taken.alive_of([weight.grad])
    assert lasting[-1] == 4 * MB and lasting[0] == 0
    assert passing.max() >= 8 * MB and passing[-1] < 100


def test_too_much_is_given_up_where_it_happens() -> None:
    calls = []

    def grow(x: Tensor) -> list[Tensor]:
        held = []
        for i in range(10):
            calls.append(i)
            held.append(x + i)
        return held

    before = torch.ones(MB)
    with pytest.raises(Exhausted) as caught, Allocations(most=10 * MB):
        grow(before)
    assert caught.value.taken == 12 * MB and len(calls) == 3


def test_products_of_different_shapes_are_told_apart() -> None:
    with Allocations() as taken:
        for rows in (2, 3, 3, 3):
            torch.ones(rows, 4) @ torch.ones(4, 5) + 1
    assert len(taken.products) == 2
