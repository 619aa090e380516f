import numpy as np
import pandas as pd
import pytest

from variorum.core import Spec
from variorum.data.columns import CategoryColumn, DateColumn, NumberColumn, date_format
from variorum.data.kinds import choose
from variorum.data.targets import ClassTarget, ValueTarget, is_value


def fitted(values, name="c"):
    spec, note = choose(pd.Series(values, name=name))
    assert spec is not None, note
    assert Spec.from_json(spec.to_json()) == spec
    return spec.build(), note


def test_numbers_are_standardised_and_gaps_stay_gaps():
    column, note = fitted([1.0, 2.0, np.nan, 3.0])
    out = column.encode(pd.Series([2.0, np.nan, np.inf, 5.0]))
    assert note is None and column.cardinalities == (0,)
    assert out[0, 0] == 0 and np.isnan(out[1, 0]) and np.isnan(out[2, 0])
    assert out[3, 0] == pytest.approx(3 / np.std([1, 2, 3]))


def test_huge_and_tiny_numbers_stay_finite():
    column, _ = fitted([1e300, -1e300, 1e299, 0.0])
    assert np.isfinite(column.encode(pd.Series([1.7e308, -1e300, 1.0]))).all()
    column, _ = fitted([1.0, 1.0 + 1e-9, 1.0])
    assert np.abs(column.encode(pd.Series([1e30]))).max() == pytest.approx(1e4)


def test_infinite_values_are_said():
    _, note = fitted([1.0, 2.0, np.inf, -np.inf, 4.0])
    assert "2 infinite" in note


def test_text_that_is_numbers_but_for_words_for_missing():
    column, note = fitted(["1", " 2.5", "?", "N/A", "4"])
    assert isinstance(column, NumberColumn) and "words in it as missing" in note
    assert np.isnan(column.encode(pd.Series(["?", "nonsense"]))).all()


def test_categories_unseen_rare_and_missing_are_code_0():
    column, _ = fitted(["red", "blue", "red", "blue", "once", None] * 1 + ["green", "green"])
    assert isinstance(column, CategoryColumn) and column.categories == ("blue", "green", "red")
    assert column.cardinalities == (4,)
    codes = column.encode(pd.Series(["red", " blue ", "once", "new", None]))[:, 0]
    assert codes.tolist() == [3, 1, 0, 0, 0]


def test_categories_read_alike_as_whole_numbers_floats_and_text():
    column = CategoryColumn("c", categories=("1", "2"))
    for values in ([1, 2, 2], [1.0, 2.0, np.nan], ["1", "2", None]):
        assert column.encode(pd.Series(values))[:2, 0].tolist() == [1, 2]


def test_truth_values_are_categories():
    column, _ = fitted([True, False, True, False])
    assert column.encode(pd.Series([True, False])).tolist() == [[2.0], [1.0]]
    assert column.encode(pd.Series(["True", "False"])).tolist() == [[2.0], [1.0]]


@pytest.mark.parametrize(
    ("texts", "written"),
    [
        (["2021-01-04", "2021-01-11", "2022-06-01"], "ISO8601"),
        (["2021-01-04T10:00:00", "2021-01-11 12:30", "2022-06-01"], "ISO8601"),
        (["13/01/2021", "04/01/2021", "11/01/2021"], "%d/%m/%Y"),
        (["04.01.2021", "11.01.2021", "01.06.2022"], "%d.%m.%Y"),
        (["Jan 4, 2021", "Jan 11, 2021", "Jun 1, 2022"], "%b %d, %Y"),
    ],
)
def test_dates_in_several_ways(texts, written):
    column, _ = fitted(texts)
    assert isinstance(column, DateColumn) and column.format == written and column.cardinalities == (0,) * 5
    a, b, gap = column.encode(pd.Series([*texts[:2], "no date"]))
    assert np.isnan(gap).all() and np.isfinite([a, b]).all()


def test_a_date_has_the_phase_of_its_week_and_year():
    column, _ = fitted(pd.to_datetime(["2021-01-04", "2021-01-11", "2021-01-12", "2022-01-04"]))
    weeks = column.encode(pd.Series(pd.to_datetime(["2021-01-04", "2021-01-11", "2021-01-12"])))
    assert weeks[0, 3:] == pytest.approx(weeks[1, 3:], abs=1e-4)
    assert np.abs(weeks[0, 3:] - weeks[2, 3:]).max() > 0.1
    years = column.encode(pd.Series(pd.to_datetime(["2021-01-04", "2022-01-04", "2021-07-04"])))
    assert years[0, 1:3] == pytest.approx(years[1, 1:3], abs=0.01)
    assert np.abs(years[0, 1:3] - years[2, 1:3]).max() > 1
    assert column.encode(pd.Series(["2021-01-04"]))[0] == pytest.approx(years[0], abs=1e-6), "text reads like datetimes"


def test_numbers_that_look_like_dates_stay_numbers():
    column, _ = fitted(["2020", "2021", "2022", "2021"])
    assert isinstance(column, NumberColumn)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([5] * 30, "the same in every"),
        (["x"] * 30, "the same in every"),
        ([None] * 30, "missing in every row"),
        ([np.nan] * 30, "missing in every row"),
        (list(range(1, 31)), "only numbers the rows"),
        ([f"text number {i}" for i in range(100)], "100 different texts"),
        ([[1, 2], [3]] * 15, "nested values"),
    ],
)
def test_columns_left_out_with_a_reason(values, why):
    spec, note = choose(pd.Series(values, name="c"))
    assert spec is None and why in note and "'c'" in note


def test_negative_fractions_are_no_dates_and_old_dates_are():
    assert date_format(pd.Series(["-1.5", "2020-01-01"])) is None
    column, _ = fitted(["0980-05-01", "1492-10-12", "9999-12-31"])
    seconds = np.array([np.datetime64(d, "s").astype(float) for d in ("0980-05-01", "1492-10-12", "9999-12-31")])
    found = column.encode(pd.Series(["0980-05-01", "1492-10-12", "9999-12-31"]))[:, 0]
    assert found == pytest.approx((seconds - seconds.mean()) / seconds.std(), abs=1e-6)


def test_every_label_that_occurs_has_a_code():
    values = pd.Series(["", "?", 1e300, 3.0, 2.5, 10**30, " x "], name="y", dtype=object)
    target = ClassTarget.fit(values).build()
    assert sorted(target.encode(values).tolist()) == list(range(7))
    assert target.encode(pd.Series(["3", 2.5, "x"], dtype=object)).tolist() == target.encode(values[[3, 4, 6]]).tolist()


def test_a_constant_with_gaps_still_says_something():
    assert isinstance(fitted(["x", "x", None, "x"])[0], CategoryColumn)


def test_many_categories_keep_the_most_frequent():
    column, note = fitted([f"w{i % 400}" for i in range(1200)] + ["often"] * 50)
    assert len(column.categories) == 255 and "often" in column.categories and "401 categories" in note


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 0], False),
        ([0.0, 1.0], False),
        (["a", "b"], False),
        ([True, False], False),
        (list(range(10)) * 5, False),
        (list(range(50)), True),
        ([0.5, 1.5, 2.5], True),
        ([1, 2, 3, np.nan], False),
    ],
)
def test_class_or_value(values, expected):
    assert is_value(pd.Series(values)) is expected


def test_labels_keep_their_type_and_order():
    target = ClassTarget.fit(pd.Series([10.0, 2.0, 10.0], name="y")).build()
    assert target.labels == (2, 10)
    assert target.encode(pd.Series([2, 10.0])).tolist() == [0, 1]
    assert target.encode(pd.Series(["10", "2"])).tolist() == [1, 0]
    told = target.decode(np.array([[0.0, np.log(3)]]))
    assert told["prediction"] == [10] and told["probability"][0] == pytest.approx(0.75)
    assert told["p(2)"][0] == pytest.approx(0.25)
    mixed = ClassTarget.fit(pd.Series(["b", 1, 2.5, "a"], name="y", dtype=object)).build()
    assert sorted(map(str, mixed.labels)) == ["1", "2.5", "a", "b"]


def test_values_come_back_in_their_own_units():
    target = ValueTarget.fit(pd.Series([100.0, 300.0], name="y")).build()
    coded = target.encode(pd.Series([100.0, 300.0, 500.0]))
    assert coded == pytest.approx([-1, 1, 3])
    assert target.decode(coded)["prediction"] == pytest.approx([100, 300, 500])
