"""FLAML in a process of its own. Run by the Python of its own environment (pins: ``automl-flaml.txt``).

Its own forecasters go on from the last training row only and cannot be given later ones, as rolling forecasts need. So
a forecast is put to it as a table, as is usual with tools for tables: a row for each step ahead, with the calendar and
past values that are known when the forecast is made.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from _automl_given import TARGET, TIME, Asked, Facts, Given, serve

STARTS = 8
"""Forecasts to learn from begin so many times within a horizon."""


def table(given: Given, asked: Asked) -> tuple[Callable[[], np.ndarray], str]:
    """A class or a value for each row."""
    value = given.facts.kind == "value"
    columns, target = given.train.drop(columns=TARGET), given.train[TARGET]
    automl = fitted(columns, target, asked, task="regression" if value else "classification",
                    metric="mse" if value else "accuracy")  # fmt: skip

    def answer() -> np.ndarray:
        if value:
            return automl.predict(given.test)
        chances = np.zeros((len(given.test), given.facts.classes))
        chances[:, np.asarray(automl.classes_, dtype=int)] = automl.predict_proba(given.test)
        return chances

    return answer, automl.best_estimator


def forecast(given: Given, asked: Asked) -> tuple[Callable[[], np.ndarray], str]:
    """Every step of each forecast, from a table of past values."""
    facts = given.facts
    known = pd.concat([given.train, given.test], ignore_index=True)
    first = max(lags(facts)) + facts.season
    starts = np.arange(first, len(given.train) - facts.horizon + 1, max(1, facts.horizon // STARTS))
    steps = starts[:, None] + np.arange(facts.horizon)
    target = pd.Series(given.train[TARGET].to_numpy()[steps].ravel())
    automl = fitted(past(known, starts, facts), target, asked, task="regression", metric="mae", split_type="time")

    def answer() -> np.ndarray:
        origins = np.array(facts.origins)
        return automl.predict(past(known, origins, facts)).reshape(len(origins), facts.horizon)

    return answer, automl.best_estimator


def fitted(columns: pd.DataFrame, target: pd.Series, asked: Asked, **settings: str) -> Any:
    """FLAML's search over its own choice of learners."""
    import flaml

    automl = flaml.AutoML()
    automl.fit(X_train=columns, y_train=target, time_budget=asked.seconds, n_jobs=asked.threads, seed=0, verbose=1,
               **settings)  # fmt: skip
    if automl.best_estimator is None:
        raise RuntimeError("FLAML found no model in its time")
    return automl


def lags(facts: Facts) -> Sequence[int]:
    """How far back of a step its past values stand: whole cycles no shorter than the horizon, so that all are known."""
    least = {cycle * math.ceil(facts.horizon / cycle) for cycle in facts.cycles if cycle > 1}
    season = facts.season * math.ceil(facts.horizon / facts.season)
    return sorted(least | {season + i * facts.season for i in range(3)})


def past(known: pd.DataFrame, origins: np.ndarray, facts: Facts) -> pd.DataFrame:
    """A row for each step of each forecast: nothing in it comes from the forecast's first step or later."""
    values = known[TARGET].to_numpy()
    ahead = np.arange(facts.horizon)
    steps = origins[:, None] + ahead
    pace = known[TIME].diff().median()
    times = pd.DatetimeIndex((known[TIME].to_numpy()[origins - 1][:, None] + (ahead + 1) * pace.to_numpy()).ravel())
    columns = {
        "ahead": np.broadcast_to(ahead, steps.shape).ravel(),
        "minute": times.hour * 60 + times.minute,
        "weekday": times.day_of_week,
        "day": times.day_of_year,
    }
    for lag in lags(facts):
        columns[f"lag {lag}"] = values[steps - lag].ravel()
    season = np.stack([values[origin - facts.season : origin] for origin in origins])
    for name, told in (("last", season[:, -1]), ("mean", season.mean(1)), ("low", season.min(1)),
                       ("high", season.max(1))):  # fmt: skip
        columns[name] = np.repeat(told, facts.horizon)
    return pd.DataFrame(columns)


if __name__ == "__main__":
    serve({"class": table, "value": table, "series": forecast})
