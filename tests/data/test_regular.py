"""Rows put on regular steps: what is repaired, and how much of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.regular import regular, repairs

NAN = np.nan


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_unsorted_rows_are_sorted():
    one = regular(np.array([3, 1, 2]), column(30, 10, 20), limit=2, subject="s")
    assert (one.start, one.values[:, 0].tolist(), one.doubled, one.lost) == (1, [10, 20, 30], 0, 0)
    assert one.real.all() and one.steps.tolist() == [1, 2, 3] and repairs([one], 2) == []


def test_rows_of_one_step_are_averaged_and_missing_ones_take_no_part():
    one = regular(np.array([0, 0, 1, 1]), column(1, 3, 5, NAN), limit=2, subject="s")
    assert one.values[:, 0].tolist() == [2, 5] and one.doubled == 2
    assert "2 rows share their time" in repairs([one], 2)[0]


def test_gaps_take_the_value_before_and_are_marked():
    one = regular(np.array([0, 3, 4, 5]), column(1, 4, NAN, 6), limit=2, subject="s")
    assert one.values[:, 0].tolist() == [1, 1, 1, 4, 4, 6]
    assert one.real[:, 0].tolist() == [True, False, False, True, False, True]
    assert "3 of 6 values are missing and filled" in repairs([one], 2)[0]


def test_a_series_begins_after_a_gap_that_is_too_long():
    one = regular(np.array([0, 1, 5, 6]), column(1, 2, 3, 4), limit=2, subject="s")
    assert (one.start, one.values[:, 0].tolist(), one.lost) == (5, [3, 4], 5)
    kept = regular(np.array([0, 1, 5, 6]), column(1, 2, 3, 4), limit=3, subject="s")
    assert (kept.start, len(kept), kept.lost) == (0, 7, 0)


def test_ends_without_values_are_cut_off():
    one = regular(np.arange(6), column(NAN, 1, 2, 3, NAN, NAN), limit=1, subject="s")
    assert (one.start, one.values[:, 0].tolist()) == (1, [1, 2, 3])


def test_a_series_begins_where_every_variable_is_known():
    values = np.array([[1, NAN], [2, NAN], [3, 30], [NAN, 40], [5, 50]])
    one = regular(np.arange(5), values, limit=2, subject="s")
    assert one.start == 2 and one.values.tolist() == [[3, 30], [3, 40], [5, 50]]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([[NAN], [NAN]]), "a column without any"),
        (np.array([[1, NAN], [NAN, 2]]), "all columns to forecast are known, found none"),
        (np.array([[1, 2], [1, NAN], [1, NAN], [1, NAN]]), "all columns to forecast are known, found none"),
    ],
)
def test_what_is_never_known_is_an_error(values, found):
    with pytest.raises(VariorumError, match=f"^s: .*{found}"):
        regular(np.arange(len(values)), values, limit=1, subject="s")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_known_value_stands_where_it_was(data):
    rows = data.draw(st.integers(1, 25))
    index = np.array(data.draw(st.lists(st.integers(-20, 20), min_size=rows, max_size=rows)))
    cells = st.sampled_from([NAN, 0.0, 1.0, -2.5, 1e308, 1e-300])
    width = data.draw(st.integers(1, 3))
    values = np.array(
        data.draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=rows, max_size=rows))
    )
    limit = data.draw(st.integers(1, 5))
    try:
        one = regular(index, values, limit=limit, subject="s")
    except VariorumError:
        return
    assert np.isfinite(one.values).all() and one.real[0].all() and one.real[-1].any()
    for v in range(width):
        gaps = np.diff(np.append(np.flatnonzero(one.real[:, v]), len(one))) - 1
        assert gaps.max() <= limit
        for t, step in enumerate(one.steps):
            known = values[index == step, v]
            known = known[~np.isnan(known)]
            with np.errstate(over="ignore"):
                mean = known.sum() / len(known) if len(known) else NAN
            assert one.real[t, v] == np.isfinite(mean)
            assert one.values[t, v] == (mean if np.isfinite(mean) else one.values[t - 1, v])
