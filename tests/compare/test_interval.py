"""Intervals cover what they say, and comparisons are paired and corrected for their number."""

import numpy as np
import pytest

from variorum.compare.interval import MOST_BLOCKS, Scores, equals_best, interval, resampled, wilson


def binary(values: np.ndarray) -> Scores:
    return Scores(values.astype(float), np.ones(len(values)))


def test_wilson_agrees_with_its_equation() -> None:
    # 8 of 10: the centre (0.8 + z^2/20) / (1 + z^2/10) and reach by hand with z = 1.959964.
    found = wilson(8, 10)
    assert found.low == pytest.approx(0.49015, abs=1e-4)
    assert found.high == pytest.approx(0.94331, abs=1e-4)


@pytest.mark.parametrize(("right", "of"), [(0, 20), (20, 20), (1, 1), (0, 1)])
def test_wilson_never_says_that_a_sample_is_certain(right: int, of: int) -> None:
    found = wilson(right, of)
    assert 0 <= found.low <= right / of <= found.high <= 1
    assert found.high - found.low > 0.1


def test_zero_or_one_scores_get_wilson_and_others_a_bootstrap() -> None:
    draw = np.random.default_rng(0)
    assert interval(binary(draw.random(50) < 0.5)).method == "Wilson"
    assert interval(Scores(draw.random(50), np.ones(50))).method.startswith("bootstrap")
    # A mean of several right-or-wrong targets a row is no proportion of independent trials.
    assert interval(Scores(np.ones(50), np.full(50, 2.0))).method.startswith("bootstrap")


def test_bootstrap_intervals_cover_the_true_mean_about_95_times_in_100() -> None:
    draw, hits = np.random.default_rng(1), 0
    for trial in range(200):
        found = interval(Scores(draw.exponential(1.0, 120), np.ones(120)), seed=trial)
        hits += found.low <= 1.0 <= found.high
    assert 0.90 <= hits / 200 <= 0.985


def test_tokens_of_a_row_are_drawn_together() -> None:
    # Ten tokens of a row that all score alike are one observation, not ten.
    rows = np.random.default_rng(2).random(60)
    together = interval(Scores(rows * 10, np.full(60, 10.0)))
    alone = interval(Scores(rows, np.ones(60)))
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=1e-9)


def test_many_rows_in_blocks_give_the_same_width() -> None:
    values = np.random.default_rng(3).normal(size=5 * MOST_BLOCKS)
    found = interval(Scores(values, np.ones(len(values))))
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(len(values)), rel=0.06)


def test_the_mean_of_redrawn_means_is_the_mean() -> None:
    scores = Scores(np.arange(40.0), np.full(40, 2.0))
    assert resampled([scores]).mean() == pytest.approx(scores.mean, rel=0.01)


def test_paired_differences_see_what_unpaired_intervals_hide() -> None:
    draw = np.random.default_rng(4)
    hard = draw.normal(size=400)
    better, worse = Scores(hard + 0.1, np.ones(400)), Scores(hard + 0.02 * draw.normal(size=400), np.ones(400))
    a, b = interval(better), interval(worse)
    assert a.low < b.high, "taken by themselves the intervals overlap"
    assert equals_best([better, worse], 0) == [True, False]


def test_equal_candidates_are_rarely_told_apart_however_many_there_are() -> None:
    draw, mistaken = np.random.default_rng(5), 0
    for trial in range(60):
        scores = [binary(draw.random(150) < 0.8) for _ in range(8)]
        best = int(np.argmax([s.mean for s in scores]))
        mistaken += not all(equals_best(scores, best, seed=trial))
    # Choosing the best of eight takes up some of the allowance; without the correction more than half would fail.
    assert mistaken / 60 <= 0.2


def test_candidates_with_the_same_answers_are_equal() -> None:
    same = binary(np.random.default_rng(6).random(50) < 0.7)
    assert equals_best([same, same], 0) == [True, True]
    assert equals_best([same], 0) == [True]


def test_seeds_widen_an_interval_and_equal_ones_do_not() -> None:
    draw = np.random.default_rng(0)
    one = Scores(draw.normal(size=200), np.ones(200))
    apart = [Scores(one.sums + shift, one.counts) for shift in (-0.2, 0.0, 0.2)]
    alone, several, alike = interval(one), interval(Scores.of_seeds(apart)), interval(Scores.of_seeds([one] * 3))
    assert Scores.of_seeds(apart).spread == pytest.approx(0.2) and Scores.of_seeds([one] * 3).spread == 0.0
    assert (alike.low, alike.high) == pytest.approx((alone.low, alone.high))
    reach = 4.303 * 0.2 / 3**0.5  # Student's t of two degrees of freedom
    mean = one.mean
    assert several.low == pytest.approx(mean - np.hypot(mean - alone.low, reach), abs=1e-3)
    assert several.high == pytest.approx(mean + np.hypot(alone.high - mean, reach), abs=1e-3)


def test_shares_of_seeds_stay_shares() -> None:
    rows = [np.ones(30), np.ones(30), np.r_[np.zeros(10), np.ones(20)]]
    found = interval(Scores.of_seeds([Scores(sums, np.ones(30)) for sums in rows]))
    assert 0.0 <= found.low < found.high == 1.0


def test_one_seed_is_taken_to_vary_as_the_others_do() -> None:
    draw = np.random.default_rng(0)
    base = draw.normal(size=400)
    several = Scores.of_seeds([Scores(base + shift, np.ones(400)) for shift in (-0.3, 0.0, 0.3)])
    single = Scores(base - 0.1, np.ones(400))
    assert equals_best([several, single], 0) == [True, True], "a tenth is within what seeds make"
    assert equals_best([Scores(base, np.ones(400)), single], 0) == [True, False], "without them it would be told apart"
