"""Rows that a trained model is asked about: what is amiss is an error, or a warning that says what became of it."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.forecast import ForecastTask
from variorum.data.images import ImageTask
from variorum.data.labelled_series import LabelledSeriesTask
from variorum.data.labelled_texts import LabelledTextTask
from variorum.data.point_clouds import PointCloudTask
from variorum.data.sounds import SoundSamples
from variorum.data.symbols import Level, TextSymbols
from variorum.data.table import TableTask

many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
DAYS = pd.date_range("2020-01-01", periods=60)


@pytest.fixture(scope="module")
def columns():
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": draw.normal(size=60), "town": draw.choice(["Bonn", "Ulm"], 60), "day": DAYS.strftime("%Y-%m-%d"),
         "y": draw.choice(["n", "p"], 60)}
    )  # fmt: skip
    return TableTask("t", target="y", frame=frame).preprocess.build()


def rows(**changed):
    return pd.DataFrame({"a": [0.5, 1.5], "town": ["Ulm", "Bonn"], "day": ["2020-01-03", "2020-01-04"]}).assign(
        **changed
    )


def opened(reader, given):
    """What a model is given, and what was warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = reader.open(given)
    assert all(one.category is UserWarning for one in said), said
    return found, [str(one.message) for one in said]


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"town": ["Trier", "Bonn"]}, "Column 'town': 1 values are none of the categories .* read as unknown: 'Trier'"),
        ({"town": [3, 4]}, "Column 'town': 2 values are none of the categories .*'3', '4'"),
        ({"a": ["x", "2"]}, "Column 'a': 1 values are no finite numbers, and read as missing: 'x'"),
        ({"a": [np.inf, 1]}, "Column 'a': 1 values are no finite numbers"),
        ({"a": [1e30, 1]}, "Column 'a': 1 values are farther than 10,000 deviations"),
        ({"a": [1 + 2j, 1 + 0j]}, "Column 'a': 2 values are no finite numbers"),
        ({"day": ["31/12/2020", "2020-01-01"]}, "Column 'day': 1 values are no dates written as in training"),
        ({"day": [[1], [2]]}, "Column 'day': 2 values are no dates"),
        ({"town": pd.Series(["Ulm", "x\ud800"], dtype=object)}, "Column 'town': half characters .* in 1 values"),
    ],
)
def test_values_that_training_did_not_know_are_named(columns, changed, warning):
    found, said = opened(columns, rows(**changed))
    assert any(re.search(warning, one) for one in said), said
    encoded = columns.encode(found)
    assert encoded.shape == (2, 7) and not np.isinf(encoded).any()


@pytest.mark.parametrize("gap", ["", "NA", None, np.nan, " - "])
def test_words_for_missing_are_no_news(columns, gap):
    assert opened(columns, rows(a=pd.Series([1, gap], dtype=object)))[1] == []


def test_columns_are_taken_by_name_in_any_order_beside_any_others(columns):
    plain = columns.encode(columns.open(rows()))
    for other in (rows()[["day", "town", "a"]], rows().assign(z=[[1], {}]), rows().rename(columns={"a": " a "})):
        found, said = opened(columns, other)
        np.testing.assert_array_equal(columns.encode(found), plain)
        assert said == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: rows().drop(columns="town"), "expected the column 'town', which the model was trained on"),
        (lambda p: pd.concat([rows(), rows()[["a"]]], axis=1), "'a' repeated"),
        (lambda p: rows().set_axis(range(3), axis=1), "found none of this name. Known: 0, 1, 2"),
        (lambda p: p / "none.csv", "found no file of this name"),
        (lambda p: p, "found a folder"),
        (lambda p: (p / "h.csv").write_text("a,town,day\n") and p / "h.csv", "expected rows under the header"),
        (lambda p: (p / "e.csv").touch() or p / "e.csv", "an empty file"),
        (lambda p: [], "expected the column"),
        (lambda p: 5, "expected a path"),
        (lambda p: np.zeros((2, 5)), r"an array of shape \(rows, 3\)"),
    ],
)
def test_rows_that_cannot_be_read(columns, tmp_path, make, message):
    with pytest.raises(VariorumError, match=message):
        columns.open(make(tmp_path))


def test_repairs_of_a_file_are_warned_of(columns, tmp_path):
    (tmp_path / "t.csv").write_bytes("a,town,day\n1,Ulm,2020-01-01\n2\n3,K\xf6ln,2020-01-01\n".encode("latin-1"))
    said = " ".join(opened(columns, tmp_path / "t.csv")[1])
    assert "1 rows have fewer fields" in said and "Line 4 is not UTF-8" in said and "'Köln'" in said


CELLS = st.one_of(
    st.none(), st.floats(), st.integers(), st.text(max_size=5), st.booleans(), st.binary(max_size=3),
    st.sampled_from(["Ulm", "2020-01-01", "9999-12-31", 10**400, [1], {"a": 1}, "\ud800", pd.NaT, 1j, pd.Timestamp(0)]),
)  # fmt: skip


@many
@given(st.data())
def test_any_cells_become_finite_numbers_or_gaps(columns, data):
    cells = st.lists(CELLS, min_size=3, max_size=3)
    frame = pd.DataFrame({name: pd.Series(data.draw(cells), dtype=object) for name in ("a", "town", "day")})
    found, said = opened(columns, frame)
    encoded = columns.encode(found)
    assert encoded.shape == (3, 7) and not np.isinf(encoded).any() and set(encoded[:, 1]) <= {0, 1, 2}
    for i, name in ((0, "a"), (2, "day")):
        lost = np.isnan(encoded[:, i]) & frame[name].map(lambda v: not isinstance(v, str) and v is not None and v == v)
        assert not lost.any() or any(f"Column {name!r}" in one for one in said)


def series(**changed):
    return pd.DataFrame({"day": DAYS, "v": np.sin(np.arange(60.0)), "shop": "a"}).assign(**changed)


@pytest.fixture(scope="module")
def forecasts():
    both = pd.concat([series(), series(shop="b")])
    return ForecastTask("t", frame=both, horizon=3, time="day", group="shop").preprocess.build()


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        (lambda f: pd.concat([f, f.tail(2)]), "2 rows share their time with another"),
        (lambda f: f.assign(v=f["v"].where(f.index % 7 > 0)), "values are missing and filled"),
        (lambda f: f.assign(v=f["v"].where(f.index % 7 > 0, 1e308)), "values are missing and filled"),
        (lambda f: f.assign(shop=f["shop"].where(f.index > 0)), "1 rows without a name of 'shop'"),
        (lambda f: f.assign(day=f["day"].astype(str).where(f.index > 0, "never")), "1 rows without a time"),
    ],
)
def test_repairs_of_series_are_warned_of(forecasts, changed, warning):
    found, said = opened(forecasts, changed(series()))
    assert np.isfinite(found.values).all() and any(warning in one for one in said), said


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.concat([series(), series()[["v"]]], axis=1), "'v' repeated"),
        (series(shop="c"), "expected a series that the model was trained on"),
        (series(v=1e308), "a column without any"),
        (series().drop(columns="day"), "the column 'day'"),
    ],
)
def test_series_that_cannot_be_forecast(forecasts, frame, message):
    with pytest.raises(VariorumError, match=message):
        forecasts.open(frame)


SENSELESS = (None, 5, {1, 2}, object())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageTask("digits").preprocess.build(),
        lambda: LabelledSeriesTask("digit-rows").preprocess.build(),
        lambda: PointCloudTask("digit-points").preprocess.build(),
        lambda: SoundSamples(rate=8000, gain=1.0, longest=1.0, labels=("a", "b")),
        lambda: TextSymbols(level=Level.BYTE, alphabet="", length=8),
        lambda: LabelledTextTask("shakespeare_plays").preprocess.build(),
    ],
    ids=["images", "series", "clouds", "sounds", "text", "texts"],
)
def test_what_is_no_data_at_all_is_an_error(make):
    reader = make()
    for senseless in SENSELESS:
        with pytest.raises(VariorumError):
            for _ in reader.batches(reader.open(senseless), 2):
                pytest.fail("it was read")


def test_half_characters_and_other_encodings_of_a_text(tmp_path):
    reader = TextSymbols(level=Level.BYTE, alphabet="", length=8)
    found, said = opened(reader, ["a\ud800"])
    assert found == ["a\ufffd"] and "1 texts" in said[0]
    (tmp_path / "a.txt").write_bytes("é".encode("utf-16"))
    found, said = opened(reader, tmp_path / "a.txt")
    assert found == ["é"] and "UTF-16" in said[0]
    (tmp_path / "a.txt").write_bytes(b"a\0b")
    with pytest.raises(VariorumError, match="zero bytes"):
        reader.open(tmp_path / "a.txt")


@many
@given(st.text(st.characters(), min_size=1, max_size=20))
def test_any_text_is_encoded(text):
    reader = TextSymbols(level=Level.BYTE, alphabet="", length=8)
    found, said = opened(reader, [text])
    ids = np.concatenate([batch["inputs"].numpy() for batch in reader.batches(found, 4)])
    assert reader.decode(ids.tolist()) == found[0] and (found == [text]) == (not said)


def test_columns_by_name_are_a_table_of_texts():
    reader = LabelledTextTask("shakespeare_plays").preprocess.build()
    assert reader.open({reader.column: ["a", "b c"]})[reader.column].tolist() == ["a", "b c"]
    with pytest.raises(VariorumError, match="which the model was trained on"):
        reader.open({"other": ["a"]})
