"""State: named tensors with the batch in front, nested as the model is."""

import torch
from torch import Tensor

from variorum.core import State


def state(batch: int = 3, length: int = 2) -> State:
    keys = torch.arange(batch * length * 2.0).reshape(batch, length, 2)
    return State(seen=torch.arange(batch), inner=State(keys=keys))


def test_tensors_and_children_by_name() -> None:
    assert state().tensor("seen").tolist() == [0, 1, 2]
    assert state().child("inner").tensor("keys").shape == (3, 2, 2)
    assert isinstance(state().map(torch.clone).child("inner"), State)


def test_a_copy_is_independent() -> None:
    first = state()
    second = first.copy()
    second.child("inner").tensor("keys").zero_()
    second.tensor("seen").zero_()
    assert first.tensor("seen").tolist() == [0, 1, 2] and first.child("inner").tensor("keys").any()


def test_rows_taken_out_and_put_back() -> None:
    whole, index = state(), torch.tensor([2, 0])
    part = whole.rows(index)
    assert part.tensor("seen").tolist() == [2, 0]
    moved = part.map(lambda t: t + 100)
    back = whole.put(index, moved)
    assert back.tensor("seen").tolist() == [100, 1, 102]
    assert torch.equal(back.child("inner").tensor("keys")[1], whole.child("inner").tensor("keys")[1])
    assert torch.equal(back.child("inner").tensor("keys")[2], whole.child("inner").tensor("keys")[2] + 100)
    assert whole.tensor("seen").tolist() == [0, 1, 2]


def test_a_cache_that_has_grown_makes_room() -> None:
    """And one that has not is filled up with zeros."""
    index = torch.tensor([1])
    for mine, theirs in ((2, 4), (4, 2)):
        merged = state(3, mine).put(index, state(1, theirs)).child("inner").tensor("keys")
        assert merged.shape == (3, 4, 2)
        wanted = state(1, theirs).child("inner").tensor("keys")[0]
        assert torch.equal(merged[1, :theirs], wanted) and not merged[1, theirs:].any()
        assert (
            torch.equal(merged[0, :mine], state(3, mine).child("inner").tensor("keys")[0])
            and not merged[0, mine:].any()
        )


def test_values_keep_the_type_of_the_state() -> None:
    before = State(sum=torch.zeros(2, 3))
    assert (
        before.put(torch.tensor([0]), State(sum=torch.ones(1, 3, dtype=torch.float64))).tensor("sum").dtype
        == torch.float32
    )


def test_bytes_are_those_of_all_tensors() -> None:
    def size(t: Tensor) -> int:
        return t.numel() * t.element_size()

    assert (
        state().nbytes == size(state().tensor("seen")) + size(state().child("inner").tensor("keys")) == 3 * 8 + 12 * 4
    )
