"""The budget is split equally, what is left over is handed on, and the whole is never promised more than there is."""

import pytest

from variorum.compare.budget import LEAST_SECONDS, OVERRUN, SEARCH, START_SECONDS, Shares
from variorum.core import VariorumError


def test_candidates_share_equally_round_by_round() -> None:
    shares = Shares(600, candidates=5, workers=2)
    search, final = shares.search(0.0, left=5), shares.final(0.0, left=5)
    # Five candidates on two workers are three rounds.
    assert 3 * (final + shares.start) + shares.last == pytest.approx(600)
    assert 3 * (search + shares.start) == pytest.approx(SEARCH * (600 - shares.last))


def test_what_the_first_leave_is_shared_by_the_others() -> None:
    shares = Shares(600, candidates=4, workers=1)
    first = shares.final(0.0, left=4)
    assert shares.final(5.0, left=3) > first
    assert shares.final(5.0, left=3) == pytest.approx((600 - 5 - shares.last) / 3 - shares.start)
    assert shares.search(5.0, left=3) > shares.search(0.0, left=4)


def test_starts_that_were_slow_are_expected_again() -> None:
    shares = Shares(600, candidates=4, workers=1)
    before, last = shares.final(10.0, left=3), shares.last
    shares.learn(20.0)
    shares.learn(2.0)
    more = shares.start - START_SECONDS
    assert shares.start >= 20.0
    assert shares.last == pytest.approx(last + more), "the last pass starts a process too"
    assert shares.final(10.0, left=3) == pytest.approx(before - more - more / 3)


def test_a_late_start_shortens_what_is_granted_rather_than_the_job() -> None:
    shares = Shares(100, candidates=2, workers=1)
    assert shares.granted(30, 20) == 30
    assert shares.granted(30, 65) == pytest.approx(100 - 65 - shares.last - shares.start)


def test_slow_starts_take_at_most_half_of_what_is_left() -> None:
    shares = Shares(180, candidates=5, workers=2)
    shares.learn(60.0)
    assert shares.granted(40, 110) == pytest.approx(35)


def test_a_worker_is_ended_before_the_job_overruns_by_ten_percent() -> None:
    shares = Shares(100, candidates=2, workers=1)
    granted = shares.granted(30, 55)
    assert granted < shares.limit(granted, 55) <= (1 + OVERRUN) * 100 - shares.last - 55


def test_the_last_pass_ends_before_the_job_overruns_by_ten_percent() -> None:
    shares = Shares(100, candidates=2, workers=1)
    assert 90 + shares.last_limit(90) < (1 + OVERRUN) * 100


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_budget_that_is_too_small_says_what_would_do(workers: int) -> None:
    with pytest.raises(
        VariorumError, match=r"expected at least [\d.]+ minutes, found 0.05\. Give more --minutes"
    ) as told:
        Shares(3, candidates=6, workers=workers).check(left=6)
    enough = float(told.value.expected.split()[2])
    Shares(60 * enough, candidates=6, workers=workers).check(left=6)
    assert Shares(60 * enough, candidates=6, workers=workers).search(0, left=6) >= LEAST_SECONDS
