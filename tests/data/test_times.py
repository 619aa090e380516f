"""Times however they are written, and the steps that they follow."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.pace import find_grid
from variorum.data.time_grid import DAY, HOUR, MINUTE, WEEK, EvenGrid, MonthGrid, NumberGrid, WorkdayGrid
from variorum.data.times import read_times, says_zone, times_of

JAN = np.array(["2024-01-01", "2024-01-02", "2024-01-13"], "datetime64[us]")


@pytest.mark.parametrize(
    ("texts", "written"),
    [
        (["2024-01-01", "2024-01-02", "2024-01-13"], "ISO8601"),
        (["2024-01-01 00:00:00", "2024-01-02T00:00", "2024-01-13"], "ISO8601"),
        (["2024-01-01T01:00+01:00", "2024-01-02T00:00Z", "2024-01-12T22:00-02:00"], "ISO8601"),
        (["01/01/2024", "02/01/2024", "13/01/2024"], "%d/%m/%Y"),
        (["01/01/2024", "01/02/2024", "01/13/2024"], "%m/%d/%Y"),
        (["1.1.2024", "2.1.2024", "13.1.2024"], "%d.%m.%Y"),
        (["1.1.2024 0:00", "2.1.2024 0:00", "13.1.2024 0:00"], "%d.%m.%Y %H:%M"),
        (["1 Jan 2024", "2 Jan 2024", "13 Jan 2024"], "%d %b %Y"),
        ([20240101, 20240102, 20240113], "%Y%m%d"),
        (["20240101", "20240102", "20240113"], "%Y%m%d"),
        ([1704067200, 1704153600, 1705104000], "s"),
        ([1704067200000, 1704153600000, 1705104000000], "ms"),
        (pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-13"]), "dates"),
        (pd.to_datetime(["2024-01-01T01", "2024-01-02T01", "2024-01-13T01"]).tz_localize("Europe/Paris"), "dates"),
    ],
)  # fmt: skip
def test_ways_of_writing(texts, written):
    way, times = times_of(pd.Series(texts, name="t"))
    assert way == written
    np.testing.assert_array_equal(times, JAN)
    np.testing.assert_array_equal(read_times(pd.Series(texts, name="t"), way), JAN)


@pytest.mark.parametrize(
    ("values", "written", "month"),
    [
        (["2024-01", "2024-02"], "ISO8601", "2024-02"),
        (["Jan 2024", "Feb 2024"], "%b %Y", "2024-02"),
        ([202401, 202402], "%Y%m", "2024-02"),
        (["2024Q1", "2024Q2"], "quarters", "2024-04"),
        (["2024 q1", "2024 q2"], "quarters", "2024-04"),
        ([1949.0, 1949.083, 1949.167], "decimal years", "1949-03"),
    ],
)
def test_months_and_quarters(values, written, month):
    way, times = times_of(pd.Series(values, name="t"))
    assert way == written and times[-1] == np.datetime64(month, "us")


def test_numbers_stay_numbers():
    for values in ([1700, 1701, 1702], [0, 1, 2, 5], [0.5, 1.0, 1.5], [-3, -2]):
        way, times = times_of(pd.Series(values, name="t"))
        assert way == "numbers" and times.tolist() == [float(v) for v in values]


def test_day_or_month_first_is_told_by_the_steps():
    days = pd.date_range("2024-01-01", periods=12)
    for written in ("%d/%m/%Y", "%m/%d/%Y"):
        assert times_of(pd.Series(days.strftime(written), name="t"))[0] == written


def test_zones_are_told():
    assert says_zone(pd.Series(["2024-01-01T01:00+01:00"])) and says_zone(pd.Series(["2024-01-01 01:00:00Z"]))
    assert not says_zone(pd.Series(["2024-01-01 01:00"])) and not says_zone(pd.Series([2024]))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["2024-01-01", "soon", "later", "2024-01-02"], "2 values that are none, the first 'soon' in row 2"),
        (["a", "b"], "2 values that are none"),
        ([None, None], "nothing but missing values"),
        ([True, False], "values that are none"),
        ([["2024"], "x"], "lists or other nested values"),
    ],
)
def test_what_cannot_be_read_is_an_error(values, found):
    with pytest.raises(VariorumError, match=f"time column 't'.*{found}"):
        times_of(pd.Series(values, name="t"))


def test_a_few_unreadable_times_are_missing():
    texts = [*map(str, pd.date_range("2024-01-01", periods=30).date), "n/a", None]
    assert np.isnan(times_of(pd.Series(texts, name="t"))[1]).sum() == 2


def stamps(start, periods, freq):
    return pd.date_range(start, periods=periods, freq=freq).to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize(
    ("times", "grid"),
    [
        (stamps("2024-03-01", 50, "h"), EvenGrid.spec(every=HOUR, origin=1709251200000000)),
        (stamps("2024-03-01 00:07", 50, "15min"), EvenGrid.spec(every=15 * MINUTE, origin=1709251620000000)),
        (stamps("2024-03-01", 50, "D"), EvenGrid.spec(every=DAY, origin=1709251200000000)),
        (stamps("2024-03-03", 50, "W"), EvenGrid.spec(every=WEEK, origin=1709424000000000)),
        (stamps("2024-03-01", 50, "B"), WorkdayGrid.spec()),
        (stamps("1970-01-01", 50, "MS"), MonthGrid.spec(every=1, origin=0, day=1)),
        (stamps("1970-01-31", 50, "ME"), MonthGrid.spec(every=1, origin=0, day=31)),
        (stamps("1970-01-31", 50, "QE"), MonthGrid.spec(every=3, origin=2, day=31)),
        (stamps("1970-01-01", 50, "YS"), MonthGrid.spec(every=12, origin=0, day=1)),
        (np.arange(1900.0, 1950), NumberGrid.spec(every=1.0, origin=1900.0)),
        (np.arange(0, 5, 0.25), NumberGrid.spec(every=0.25, origin=0.0)),
    ],
)
def test_pace(times, grid):
    assert find_grid([times]) == grid
    built = grid.build()
    index = built.index(times)
    np.testing.assert_array_equal(np.diff(index), 1)
    np.testing.assert_array_equal(built.times(index), times)
    calendar = built.calendar(index)
    assert calendar.shape == (len(times), built.features) and calendar.dtype == np.float32
    assert (np.abs(calendar) <= 0.5).all()


def test_times_that_jump_about_full_hours_are_hours():
    rng = np.random.default_rng(0)
    times = stamps("2024-03-01", 200, "h") + rng.integers(-200, 200, 200).astype("timedelta64[s]")
    grid = find_grid([times])
    assert grid["every"] == HOUR
    np.testing.assert_array_equal(np.diff(grid.build().index(times)), 1)


def test_gaps_do_not_change_the_pace():
    times = stamps("2024-03-01", 100, "D")
    assert find_grid([times[[0, 1, 2, 5, 6, 7, 20, 21]]])["every"] == DAY
    months = stamps("2020-01-01", 60, "MS")
    assert find_grid([np.delete(months, [3, 10, 11])])["every"] == 1


def test_irregular_times_are_an_error():
    rng = np.random.default_rng(0)
    times = np.unique(stamps("2024-01-01", 1, "D")[0] + rng.integers(0, 10**7, 60).astype("timedelta64[s]"))
    with pytest.raises(VariorumError, match="expected regular steps"):
        find_grid([times])
    with pytest.raises(VariorumError, match="numbers at regular steps"):
        find_grid([np.unique(rng.random(60))])
    with pytest.raises(VariorumError, match="one time each"):
        find_grid([times[:1], times[1:2]])


def test_seasons():
    assert EvenGrid(every=HOUR, origin=0).seasons == (24, 168)
    assert EvenGrid(every=DAY, origin=0).seasons == (7,)
    assert EvenGrid(every=WEEK, origin=0).seasons == (52,)
    assert MonthGrid(every=1, origin=0, day=1).seasons == (12,)
    assert MonthGrid(every=3, origin=0, day=1).seasons == (4,)
    assert WorkdayGrid().seasons == (5,)


def test_calendar_of_a_known_hour():
    grid = EvenGrid(every=HOUR, origin=0)
    hour, week, month, year = grid.calendar(grid.index(np.array(["2024-12-31T23:00"], "datetime64[us]")))[0]
    assert (hour, month, year) == (0.5, 0.5, 0.5)  # the last hour, the 31st, the 366th day
    assert week == pytest.approx((24 + 23) / 167 - 0.5)  # a Tuesday


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4000), st.integers(-(10**6), 10**6), st.sampled_from([MINUTE, HOUR, DAY, WEEK]))
def test_even_steps_and_times_are_inverse(n, origin, unit):
    grid = EvenGrid(every=unit, origin=origin * 10**6)
    index = np.arange(-n, n)
    np.testing.assert_array_equal(grid.index(grid.times(index)), index)


@settings(max_examples=60, deadline=None)
@given(st.integers(-3000, 3000), st.sampled_from([1, 2, 3, 6, 12]), st.integers(1, 31))
def test_months_and_times_are_inverse(origin, every, day):
    grid, index = MonthGrid(every=every, origin=origin, day=day), np.arange(-50, 50)
    np.testing.assert_array_equal(grid.index(grid.times(index)), index)


def test_workdays_and_times_are_inverse():
    grid, index = WorkdayGrid(), np.arange(-900, 900)
    np.testing.assert_array_equal(grid.index(grid.times(index)), index)
    assert set(((grid.times(index).astype("datetime64[D]").astype(int) + 3) % 7).tolist()) == {0, 1, 2, 3, 4}
