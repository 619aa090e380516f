"""The plain forecasters give the numbers of the libraries that fit them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from variorum.compare.baselines.smoothing import Form, begin, choose, fit
from variorum.core import VariorumError
from variorum.layers.series_code import code
from variorum.models.exponential_smoothing import ExponentialSmoothing, Season
from variorum.models.linear_forecaster import LinearForecaster
from variorum.models.seasonal_naive import SeasonalNaive

HORIZON = 7
FORMS = [Form(trended, damped, season) for season in Season for trended, damped in ((0, 0), (1, 0), (1, 1))]


def series(n, season, seed=0):
    """Generated values above 0 with a trend and a season."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return 20 + 0.1 * t + 4 * np.sin(2 * np.pi * t / season) + 0.5 * rng.standard_normal(n)


def library(values, form, season, parameters):
    """What statsmodels forecasts after going through the values with given parameters, from our first state."""
    level, trend, states = begin(values, form, season)
    seasonal = form.season is not Season.NONE
    model = ETSModel(
        values, error="mul" if form.season is Season.MULTIPLIED else "add", trend="add" if form.trended else None,
        damped_trend=bool(form.damped), seasonal={0: None, 1: "add", 2: "mul"}[form.season],
        seasonal_periods=season if seasonal else None, initialization_method="known", initial_level=level,
        initial_trend=trend if form.trended else None, initial_seasonal=states if seasonal else None,
    )  # fmt: skip
    wanted = {
        "smoothing_level": "alpha",
        "smoothing_trend": "beta",
        "smoothing_seasonal": "gamma",
        "damping_trend": "phi",
    }
    given = [parameters[wanted[name]] for name in model.param_names if name in wanted]
    return model.smooth(np.array(given)).forecast(HORIZON)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("season", "n"), [(4, 23), (12, 36), (7, 61)])
def test_exponential_smoothing_equals_statsmodels(form, season, n):
    parameters = {"alpha": 0.4, "beta": 0.07, "gamma": 0.2, "phi": 0.9}
    parameters |= {} if form.trended else {"beta": 0.0}
    parameters |= {} if form.damped else {"phi": 1.0}
    parameters |= {} if form.season else {"gamma": 0.0}
    values = series(n, season)
    # A season that the form does not have takes no part, whatever its length.
    model = ExponentialSmoothing.spec(season=season, series=3, horizon=HORIZON, variables=2).build()
    for name, value in parameters.items():
        model.get_buffer(name)[1, 1] = value
    model.get_buffer("trended")[1, 1] = bool(form.trended)
    model.get_buffer("joined")[1, 1] = int(form.season)
    model.shift[1, 1] = 20.0
    inputs = torch.zeros(2, n + HORIZON, 4)
    inputs[:, :n, 1] = torch.from_numpy(values - 20.0)
    inputs[..., 2:] = code(torch.tensor([1, 0]), 3)[:, None]
    told = model.double()(inputs.double())
    expected = library((inputs[0, :n, 1].double() + 20.0).numpy(), form, season, parameters)
    np.testing.assert_allclose(told[0, :, 1].numpy() + 20.0, expected, rtol=1e-9)
    assert not torch.allclose(told[1, :, 1], told[0, :, 1]), "another series has parameters of its own"


def test_the_first_state_of_a_season_without_noise_is_that_season():
    t = np.arange(36)
    pattern = np.array([3.0, -1, 0, -2])
    level, trend, states = begin(10 + 0.5 * t + pattern[t % 4], Form(True, False, Season.ADDED), 4)
    np.testing.assert_allclose(states, pattern, atol=1e-9)
    assert (level, trend) == (pytest.approx(9.5), pytest.approx(0.5))
    pattern = np.array([1.5, 0.5, 1.2, 0.8])
    level, trend, states = begin(10 * pattern[t % 4], Form(True, False, Season.MULTIPLIED), 4)
    np.testing.assert_allclose(states, pattern, atol=1e-9)
    assert (level, trend) == (pytest.approx(10), pytest.approx(0, abs=1e-9))


def test_the_form_is_found_that_made_the_series():
    t, rng = np.arange(240), np.random.default_rng(0)
    noise = rng.standard_normal(240)
    assert choose(5 + 0.3 * noise, 12).form.season is Season.NONE
    assert choose(50 + 5 * np.sin(2 * np.pi * t / 12) + 0.3 * noise, 12).form == Form(False, False, Season.ADDED)
    grown = (50 + 1.0 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12)) * np.exp(0.01 * noise)
    assert choose(grown, 12).form.season is Season.MULTIPLIED and choose(grown, 12).form.trended
    assert choose(50 + 5 * np.sin(2 * np.pi * t / 12) - 50 + noise, 12).form.season is Season.ADDED, "below 0"


def test_more_parameters_than_steps_are_refused():
    assert fit(series(11, 4), Form(True, True, Season.ADDED), 4)[1] == float("inf")


def test_linear_forecasts_equal_scikit_learn():
    rng = np.random.default_rng(0)
    past, ahead = rng.normal(size=(50, 9)), rng.normal(size=(50, 3))
    last = past[:, -1:]
    fitted = Ridge(alpha=0.3).fit(past - last, ahead - last)
    model = LinearForecaster.from_sklearn(fitted, variables=2)
    inputs = torch.zeros(25, 12, 5)
    inputs[:, :9, :2] = torch.from_numpy(past).float().reshape(25, 2, 9).transpose(1, 2)
    expected = (fitted.predict(past - last) + last).reshape(25, 2, 3).transpose(0, 2, 1)
    np.testing.assert_allclose(model(inputs).detach().numpy(), expected, atol=1e-5)
    assert torch.allclose(model(inputs + 100)[..., :2], model(inputs) + 100, atol=1e-3), "levels go through"
    with pytest.raises(VariorumError, match="9 known steps"):
        model(inputs[:, 1:])


def test_a_linear_forecast_from_the_last_steps_only_passes_over_the_others():
    rng = np.random.default_rng(1)
    past, ahead = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    last = past[:, -1:]
    fitted = Ridge(alpha=0.3).fit(past - last, ahead - last)
    model = LinearForecaster.from_sklearn(fitted, variables=1, context=9)
    inputs = torch.zeros(50, 12, 1)
    inputs[:, 5:9, 0] = torch.from_numpy(past).float()
    expected = fitted.predict(past - last) + last
    np.testing.assert_allclose(model(inputs)[..., 0].detach().numpy(), expected, atol=1e-5)
    inputs[:, :5] = 100.0
    np.testing.assert_allclose(model(inputs)[..., 0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("season", "expected"), [(1, [5, 5, 5, 5, 5]), (2, [4, 5, 4, 5, 4]), (6, [0, 1, 2, 3, 4])])
def test_seasonal_naive_repeats(season, expected):
    inputs = torch.zeros(1, 11, 2)
    inputs[0, :6, 0] = torch.arange(6.0)
    assert SeasonalNaive(5, 1, season)(inputs)[0, :, 0].tolist() == expected
    with pytest.raises(VariorumError, match="7 known steps"):
        SeasonalNaive(5, 1, 7)(inputs)
