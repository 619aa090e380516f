"""Exponential smoothing with its form chosen by AICc (AutoETS). Hyndman & Khandakar 2008; fitted by statsmodels."""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.measure import score
from variorum.core import Spec
from variorum.data.forecast import ForecastTask
from variorum.data.task import Task
from variorum.models.exponential_smoothing import ExponentialSmoothing, Follow, Season, first_state
from variorum.train.recipe import Recipe, Run

NAMES = {"alpha": "smoothing_level", "beta": "smoothing_trend", "gamma": "smoothing_seasonal", "phi": "damping_trend"}


@dataclass(frozen=True)
class Form:
    """Which terms an exponential smoothing has."""

    trended: bool
    damped: bool
    season: Season


@dataclass(frozen=True)
class Fitted:
    """A form with its smoothing parameters."""

    form: Form
    alpha: float
    beta: float = 0.0
    gamma: float = 0.0
    phi: float = 1.0


class AutoSmoothing(Recipe):
    """For every variable of every series the form of exponential smoothing with the least AICc on the training part.

    Forms: no trend, a trend, a damped trend; no season, one that is added, and one that is multiplied (with errors that
    are too) where all values are above 0. Trends are never multiplied. AICc counts the smoothing parameters, the first
    state and the variance. Hyndman & Khandakar 2008, "Automatic time series forecasting"; the parameters are fitted by
    statsmodels, from the first state of :func:`~variorum.models.exponential_smoothing.first_state`.

    most: steps of the training part that are looked at, its last ones; five seasons at least. Series are taken in an
    order drawn with the seed; those that the budget leaves no time for get the commonest form and the middle parameters
    of those fitted.
    """

    def __init__(self, *, most: int = 1000) -> None:
        self.most = most

    def train(self, spec: Spec[Any], task: Task, run: Run) -> ExponentialSmoothing:
        assert isinstance(task, ForecastTask), "the baseline reads series"
        began = time.monotonic()
        model = spec.fill(**task.facts).build().eval()
        assert isinstance(model, ExponentialSmoothing), "its own spec"
        model.shift.copy_(torch.from_numpy(np.stack([one.mean / one.scale for one in task.series])))
        moving = [(i, v) for i, one in enumerate(task.series) for v in np.flatnonzero(one.naive > 0)]
        np.random.default_rng(run.seed).shuffle(moving)
        found: dict[tuple[int, int], Fitted] = {}
        for i, v in moving:
            look = time.monotonic()
            one = task.series[i]
            values = one.series.values[: one.trained, v] / one.scale[v]
            found[int(i), int(v)] = choose(values[-max(self.most, 5 * task.season) :], task.season)
            now = time.monotonic()
            run.report({"step": len(found), "seconds": now - began})
            if run.budget.seconds is not None and 2 * now - look - began > 0.9 * run.budget.seconds:
                break
        usual = _usual(list(found.values()))
        for i, v in moving:
            _put(model, int(i), int(v), found.get((int(i), int(v)), usual))
        valid = score(model, task, split="valid").mean
        run.report({"step": len(found), "valid": valid, "seconds": time.monotonic() - began})
        return model


def choose(values: np.ndarray, season: int) -> Fitted:
    """The form with the least AICc for a series (steps,)."""
    seasons = [Season.NONE]
    if season > 1 and len(values) >= 2 * season + 1:
        seasons += [Season.ADDED] + ([Season.MULTIPLIED] if values.min() > 0 else [])
    forms = [
        Form(trended, damped, s) for s in seasons for trended, damped in ((False, False), (True, False), (True, True))
    ]
    tried = [fit(values, form, season) for form in forms]
    return min(tried, key=lambda pair: pair[1])[0]


def fit(values: np.ndarray, form: Form, season: int) -> tuple[Fitted, float]:
    """The most likely parameters of a form, and its AICc; infinite where there is none."""
    from statsmodels.tools.sm_exceptions import ModelWarning
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    level, trend, states = begin(values, form, season)
    seasonal = form.season is not Season.NONE
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ModelWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        model = ETSModel(
            values, error="mul" if form.season is Season.MULTIPLIED else "add", trend="add" if form.trended else None,
            damped_trend=form.damped, seasonal={0: None, 1: "add", 2: "mul"}[form.season],
            seasonal_periods=season if seasonal else None, initialization_method="known", initial_level=level,
            initial_trend=trend if form.trended else None, initial_seasonal=states if seasonal else None,
        )  # fmt: skip
        result = model.fit(disp=False)
    told = dict(zip(result.param_names, map(float, result.params), strict=True))
    found = Fitted(form, **{name: told[theirs] for name, theirs in NAMES.items() if theirs in told})
    free = len(told) + 1 + form.trended + (season - 1 if seasonal else 0) + 1
    n = len(values)
    if n <= free + 1 or not np.isfinite(result.llf) or not np.isfinite(list(told.values())).all():
        return found, float("inf")
    return found, -2 * float(result.llf) + 2 * free * n / (n - free - 1)


def begin(values: np.ndarray, form: Form, season: int) -> tuple[float, float, np.ndarray]:
    """Level, trend and season before the first of ``values`` (steps,)."""
    one = torch.ones(1, 1, dtype=torch.float64)
    follow = Follow(one, one, one, one, (one * form.trended).bool(), (one * form.season).to(torch.int8))
    length = season if form.season is not Season.NONE else 1
    level, trend, states = first_state(torch.from_numpy(values).double()[None, :, None], follow, length)
    return float(level), float(trend), states[0, :, 0].numpy()


def _usual(found: list[Fitted]) -> Fitted:
    """The commonest form, with the middle of each parameter."""
    forms = [one.form for one in found]
    form = max(dict.fromkeys(forms), key=forms.count)
    alike = [one for one in found if one.form == form]
    return Fitted(form, **{name: float(np.median([getattr(one, name) for one in alike])) for name in NAMES})


def _put(model: ExponentialSmoothing, series: int, variable: int, one: Fitted) -> None:
    for name in NAMES:
        model.get_buffer(name)[series, variable] = getattr(one, name)
    model.get_buffer("trended")[series, variable] = one.form.trended
    model.get_buffer("joined")[series, variable] = int(one.form.season)


class ExponentialSmoothingForms(Baseline):
    """Exponential smoothing whose form is chosen for each series."""

    name, title, reads = "exponential-smoothing", "exponential smoothing", ("series",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return ExponentialSmoothing.spec(), AutoSmoothing.spec()
