"""Some of a batch's rows: put together again they are the batch."""

from itertools import pairwise

import pytest
import torch

from variorum.core import Layout, VariorumError
from variorum.data.task import Batch
from variorum.models.alignments import Labels
from variorum.objectives.noise_and_variance import Diffused
from variorum.train.rows import count_rows, take_rows

LENGTHS, OTHERS = [2, 0, 3, 1, 4], [1, 4, 2, 2, 1]


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def batches():
    layout = Layout.ragged(LENGTHS, coords=numbers(10, 2), segments=torch.arange(10), start=torch.arange(5))
    labels = Labels(torch.arange(10), torch.tensor(OTHERS))
    pair = {"source": numbers(10, 3), "source_layout": Layout.ragged(OTHERS), "target": numbers(10), "layout": layout}
    return {
        "equal": Batch({"inputs": numbers(5, 4, 3)}, numbers(5, 4)),
        "grid": Batch({"inputs": numbers(5, 6), "layout": Layout(grid=(2, 3), coords=numbers(5, 6, 2))}, numbers(5)),
        "a class a row": Batch({"inputs": numbers(10, 2), "layout": layout}, torch.arange(5)),
        "a target a token": Batch({"inputs": numbers(10, 2), "layout": layout}, torch.arange(10)),
        "a pair, as many tokens on both sides": Batch(pair, torch.arange(10)),
        "labels": Batch({"inputs": numbers(10, 2), "layout": Layout.ragged(LENGTHS), "target": labels.ids,
                         "target_layout": labels.layout}, labels),
        "several targets": Batch({"inputs": numbers(5, 2), "time": numbers(5)}, (numbers(5), numbers(5, 2))),
        "named": Batch({"inputs": numbers(5, 2)}, Diffused(numbers(5, 2), numbers(5, 2), torch.arange(5))),
    }  # fmt: skip


def leaves(value):
    """Every tensor of any nesting, offsets as lengths, so that parts can be put together."""
    if isinstance(value, Batch):
        return leaves((value.inputs, value.targets))
    if isinstance(value, dict):
        return leaves(tuple(value.values()))
    if isinstance(value, tuple):
        return [leaf for one in value for leaf in leaves(one)]
    if isinstance(value, Layout):
        tensors = (None if value.offsets is None else value.offsets.diff(), value.coords, value.segments, value.start)
        return [tensor for tensor in tensors if tensor is not None]
    return [value]


@pytest.mark.parametrize("name", list(batches()))
@pytest.mark.parametrize("cuts", [[0, 5], [0, 2, 5], [0, 1, 3, 4, 5]])
def test_parts_put_together_are_the_batch(name, cuts):
    batch = batches()[name]
    assert count_rows(batch) == 5
    parts = [take_rows(batch, first, end) for first, end in pairwise(cuts)]
    assert [count_rows(part) for part in parts] == [end - first for first, end in pairwise(cuts)]
    assert all(type(part.targets) is type(batch.targets) for part in parts)
    for whole, *each in zip(leaves(batch), *map(leaves, parts), strict=True):
        assert torch.equal(torch.cat(each), whole)


def test_offsets_begin_at_zero_and_a_grid_stays():
    layout = take_rows(batches()["a target a token"], 2, 4).inputs["layout"]
    assert layout.offsets.tolist() == [0, 3, 4] and layout.segments.tolist() == [2, 3, 4, 5]
    assert take_rows(batches()["grid"], 1, 2).inputs["layout"].grid == (2, 3)


def test_what_belongs_to_no_row_is_refused():
    with pytest.raises(VariorumError, match=r"batch, weights: expected something for each of its 5 rows.*shape \(3,\)"):
        take_rows(Batch({"inputs": numbers(5, 2), "weights": numbers(3)}, numbers(5)), 0, 2)
    layout = Layout.ragged([2, 0, 1])
    with pytest.raises(VariorumError, match=r"batch, inputs: .*which may be either"):
        take_rows(Batch({"inputs": numbers(4, 2)[:3], "layout": layout}, numbers(3)), 0, 1)
