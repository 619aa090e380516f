"""The forecaster: series in every form, and answers in the same."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

import variorum
from variorum import VariorumError, VariorumForecaster

SEASON = 12


def waves(n: int = 120) -> np.ndarray:
    return 100 + 10 * np.sin(2 * np.pi * np.arange(n) / SEASON)


def naive(**asked: object) -> VariorumForecaster:
    return VariorumForecaster("seasonal-naive", **{"horizon": 6, "random_state": 0, **asked})


def test_an_array_goes_on_where_it_ends() -> None:
    model = naive().fit(waves())
    wanted = waves(140)[120:]
    np.testing.assert_allclose(model.predict(), wanted[:6], atol=1e-4)
    np.testing.assert_allclose(model.predict([1, 6]), wanted[[0, 5]], atol=1e-4)
    np.testing.assert_allclose(model.predict(20), wanted, atol=1e-4)  # told from its own forecasts
    assert model.predict(np.int64(2)).shape == (2,) and model.horizon_ == 6


def test_an_array_of_several_variables() -> None:
    y = np.stack([waves(), -waves()], axis=1)
    told = naive().fit(y, horizon=3).predict()
    np.testing.assert_allclose(told, np.stack([waves(123)[120:], -waves(123)[120:]], axis=1), atol=1e-4)


def test_periods_dates_zones_and_years_come_back() -> None:
    months = pd.Series(waves(), index=pd.period_range("2010-01", periods=120, freq="M"), name="sales")
    told = naive().fit(months).predict(3)
    assert told.name == "sales" and told.index.equals(pd.period_range("2020-01", periods=3, freq="M"))
    days = pd.date_range("2024-01-01", periods=120, tz="Europe/Berlin")  # the clocks change within
    frame = pd.DataFrame({"a": waves(), 7: 2 * waves()}, index=days.rename("day"))
    after = naive().fit(frame).predict(2)
    assert after.columns.tolist() == ["a", 7] and after.index.name == "day"
    assert after.index.equals(pd.date_range("2024-04-30", periods=2, tz="Europe/Berlin", name="day"))
    years = pd.Series(waves(), index=range(1900, 2020))
    assert naive().fit(years).predict(2).index.tolist() == [2020, 2021]


def shops(start: int, days: int) -> pd.DataFrame:
    """Sales by day of two shops, the second ten times the first."""
    dates = (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(start, start + days), unit="D")).strftime(
        "%d.%m.%Y"
    )
    weeks = np.arange(start, start + days) % 7
    return pd.concat([pd.DataFrame({"day": dates, "shop": name, "sales": scale * weeks}) for name, scale in
                      (("a", 1.0), ("b", 10.0))], ignore_index=True)  # fmt: skip


def test_rows_of_several_series() -> None:
    model = naive(time="day", group="shop", horizon=7).fit(shops(0, 98))
    told = model.predict([1, 2, 9])
    assert told["shop"].tolist() == ["a"] * 3 + ["b"] * 3
    np.testing.assert_allclose(told["sales"], [0, 1, 1, 0, 10, 10], atol=1e-4)
    assert told["day"].iloc[0] == pd.Timestamp("2024-04-08")
    assert model.score(shops(98, 10)) == pytest.approx(0, abs=1e-3)


def test_the_score_is_the_negative_mase() -> None:
    rng = np.random.default_rng(0)
    y = pd.Series(waves(160) + rng.normal(size=160), index=pd.date_range("2010-01-01", periods=160, freq="MS"))
    model = naive().fit(y[:140])
    trained = y[:112].to_numpy()  # a fifth was set aside
    scale = np.abs(trained[SEASON:] - trained[:-SEASON]).mean()
    wanted = np.abs(y[140:146] - model.predict(6)).mean() / scale
    assert model.score(y[140:146]) == pytest.approx(-wanted, rel=1e-4)
    with pytest.raises(VariorumError, match="after the end"):
        model.score(y[:140])


def test_a_transformer_learns_a_season() -> None:
    y = pd.Series(waves(200))
    model = VariorumForecaster(horizon=6, steps=80, random_state=0).fit(y[:188])
    assert model.system_ == "turner-introduction" and -0.5 < model.score(y[188:]) / 10 <= 0
    flat = np.abs(y[188:194] - y[:188].mean()).mean()
    assert np.abs(y[188:194] - model.predict(6)).mean() < 0.7 * flat


def test_a_search_over_systems_by_time() -> None:
    search = GridSearchCV(
        naive(), {"system": ["seasonal-naive", "linear-forecast"]}, cv=TimeSeriesSplit(2, test_size=6)
    )
    search.fit(pd.Series(waves()))
    assert search.best_score_ == pytest.approx(0, abs=0.05)


def test_it_is_kept_as_a_bundle_and_by_pickle(tmp_path: Path) -> None:
    series = pd.Series(waves(), index=pd.date_range("2010-01-01", periods=120, freq="MS"), name="sales")
    model = naive().fit(series)
    assert pickle.loads(pickle.dumps(model)).predict(8).equals(model.predict(8))
    bundle = variorum.load(model.to_bundle(tmp_path / "model"))
    rows = series.rename_axis("time").reset_index()
    np.testing.assert_allclose(bundle.predict(rows)["sales"], model.predict(), rtol=1e-5)


def test_what_is_amiss_is_explained() -> None:
    with pytest.raises(VariorumError, match="past of the series"):
        naive().fit(waves(), waves())
    with pytest.raises(VariorumError, match="at least 28 steps"):
        naive().fit(waves(20))
    with pytest.raises(VariorumError, match="steps from 1 on"):
        naive().fit(waves()).predict([0])
    with pytest.raises(VariorumError, match="'day'"):
        naive(time="day").fit(waves())
