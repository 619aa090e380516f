"""AutoGluon in a process of its own: tables by ``autogluon.tabular``, forecasts by ``autogluon.timeseries``.

Run by the Python of its own environment (pins: ``automl-autogluon.txt``). Pictures and labelled series come as columns
of numbers: its models for pictures begin with weights that are downloaded. For the same reason the pretrained
forecasters are left out.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from _automl_given import TARGET, TIME, Asked, Given, serve

DOWNLOADED = ["Chronos", "Chronos2", "Toto", "Toto2"]
"""Forecasters that begin with weights from a hub."""
ITEM = "item_id"


def table(given: Given, asked: Asked) -> tuple[Callable[[], np.ndarray], str]:
    """A class or a value for each row."""
    from autogluon.tabular import TabularPredictor

    facts = given.facts
    value = facts.kind == "value"
    problem = "regression" if value else "binary" if facts.classes == 2 else "multiclass"
    metric = "root_mean_squared_error" if value else "accuracy"
    predictor = TabularPredictor(TARGET, problem_type=problem, eval_metric=metric, path=str(asked.folder / "models"))
    predictor.fit(given.train, time_limit=asked.seconds, presets=asked.preset, num_cpus=asked.threads, num_gpus=0)

    def answer() -> np.ndarray:
        if value:
            return predictor.predict(given.test).to_numpy()
        chances = predictor.predict_proba(given.test)
        return chances.reindex(columns=range(facts.classes), fill_value=0.0).to_numpy()

    return answer, predictor.model_best


def forecast(given: Given, asked: Asked) -> tuple[Callable[[], np.ndarray], str]:
    """The median of every step of each forecast, all that came before it being known."""
    from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

    facts = given.facts
    predictor = TimeSeriesPredictor(
        target=TARGET, prediction_length=facts.horizon, eval_metric="MASE", path=str(asked.folder / "models"),
        eval_metric_seasonal_period=facts.season,
    )  # fmt: skip
    frame = TimeSeriesDataFrame.from_data_frame(given.train.assign(**{ITEM: 0}), id_column=ITEM, timestamp_column=TIME)
    predictor.fit(frame, time_limit=int(asked.seconds), presets=asked.preset, excluded_model_types=DOWNLOADED)

    def answer() -> np.ndarray:
        known = pd.concat([given.train, given.test], ignore_index=True)
        before = [known.iloc[:origin].assign(**{ITEM: i}) for i, origin in enumerate(facts.origins)]
        rows = TimeSeriesDataFrame.from_data_frame(pd.concat(before), id_column=ITEM, timestamp_column=TIME)
        told = predictor.predict(rows)["0.5"].unstack(level=0)
        return np.stack([told[i].dropna().to_numpy() for i in range(len(before))])

    return answer, predictor.model_best


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Its models take gigabytes: they are removed once it has answered."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    import sys

    with nothing_left(Path(sys.argv[2]) / "models"):
        serve({"class": table, "value": table, "series": forecast})
