import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.data.kinds import choose
from variorum.data.written import Written, groups_of_points, how_written, parsed


@pytest.mark.parametrize(
    ("texts", "written", "values"),
    [
        (["1", "-2.5", "1e3"], Written.PLAIN, [1, -2.5, 1000]),
        (["1,5", "2", "-0,25"], Written.COMMA, [1.5, 2, -0.25]),
        (["1.234,5", "980"], Written.COMMA, [1234.5, 980]),
        (["1.234.567", "12"], Written.COMMA, [1234567, 12]),
        (["0,234", "1,234"], Written.COMMA, [0.234, 1.234]),
        (["1,234", "12,500.75", "980"], Written.GROUPED, [1234, 12500.75, 980]),
        (["1 234,5", "12\u202f000"], Written.COMMA, [1234.5, 12000]),
        (["1'234.5", "3"], Written.GROUPED, [1234.5, 3]),
        (["\u22121,5", "2"], Written.COMMA, [-1.5, 2]),
    ],
)
def test_numbers_in_words(texts, written, values):
    series = pd.Series(texts)
    assert how_written(series) is written
    assert parsed(series, written).tolist() == pytest.approx(values)


@pytest.mark.parametrize("texts", [["1,2,3"], ["a"], [","], ["12.34.56"], ["1,23", "1.5"], ["2020-01-01"], []])
def test_what_is_no_number(texts):
    assert how_written(pd.Series(texts, dtype="str")) is None


def test_points_between_thousands():
    assert groups_of_points(pd.Series(["1.234", "980", "12.500"]))
    for others in (["1.234", "0.5"], ["980", "12"], ["1.2345"], []):
        assert not groups_of_points(pd.Series(others, dtype="str"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(10**9), 10**9).map(lambda i: i / 100), min_size=1, max_size=20), st.booleans())
def test_whatever_is_written_is_read_back(values, comma):
    def write(value):
        text = f"{value:,.2f}"
        return text.translate(str.maketrans(",.", ".,")) if comma else text

    series = pd.Series([write(value) for value in values], dtype="str")
    written = Written.COMMA if comma else how_written(series)
    assert how_written(series) is written
    assert parsed(series, written).tolist() == pytest.approx(values)


def test_a_column_remembers_how_it_is_written():
    spec, note = choose(pd.Series(["1,5", "2,25", "?", "3"], name="c"))
    column = spec.build()
    assert "decimal comma" in note and column.as_text
    told = column.encode(pd.Series(["1,5", "2,25", "1.5", None]))[:, 0]
    assert told[0] == pytest.approx((1.5 - 2.25) / column.scale) and told[1] == 0
    assert pd.isna(told[2:]).all(), "1.5 with a decimal comma is no number: no guess is made"
    assert column.encode(pd.Series([1.5, 2.25]))[:, 0].tolist() == told[:2].tolist(), "numbers need no reading"
