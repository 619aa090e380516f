import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.draw import draw, stratified


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=6), st.integers(0, 5))
def test_every_row_is_in_one_part_and_every_stratum_in_each(sizes, seed):
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = stratified(strata, seed)
    together = np.concatenate([parts.train, parts.valid, parts.test])
    assert sorted(together) == list(range(sum(sizes)))
    for name in ("train", "valid", "test"):
        counts = np.bincount(strata[parts.rows(name)], minlength=len(sizes))
        share = 0.6 if name == "train" else 0.2
        assert (counts >= 1).all() and (abs(counts - share * np.array(sizes)) <= 1).all()


def test_the_split_depends_on_the_seed_alone():
    strata = np.arange(100) % 3
    again, other = stratified(strata, 0), stratified(strata, 1)
    assert (again.train == stratified(strata, 0).train).all()
    assert len(set(again.test) & set(other.test)) < len(other.test)
    with pytest.raises(VariorumError, match="train, valid or test"):
        again.rows("tests")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 3))
def test_batches_are_cut_from_one_stream_of_shuffled_passes(rows, size, seed):
    steps = 3 * rows // size + 2
    stream = np.concatenate([draw(rows, step, size, seed) for step in range(steps)])
    for number in range(len(stream) // rows):
        assert sorted(stream[number * rows : (number + 1) * rows]) == list(range(rows))
    assert (draw(rows, 1, size, seed) == stream[size : 2 * size]).all()
