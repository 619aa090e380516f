"""A system as a forecaster in the manner of scikit-learn."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from variorum.compare.estimators.estimator import Fitted
from variorum.compare.estimators.exact import outputs
from variorum.compare.estimators.series_form import Form, Written
from variorum.compare.estimators.trained import SOURCE
from variorum.core import Spec, VariorumError
from variorum.data.columns import numbers, words
from variorum.data.forecast import ForecastTask
from variorum.data.forecast_rows import Contexts, ForecastRows
from variorum.data.settled import Settled
from variorum.data.times import read_times
from variorum.train.distributed import Distributed
from variorum.train.recipe import Recipe


class VariorumForecaster(Fitted):
    """Tells the steps after the end of one or more series; ``score`` is the negative MASE, so that more is better.

    A series is an array (n,) or (n, variables), a pandas series or frame whose index tells the times, or a frame with a
    column of times, ``time``, and for several series one that tells them apart, ``group``. Steps that are missing, and
    values, are filled with the one before.

    bundle_: the trained model with its preprocessing.     system_: the name of what was trained.     n_iter_: its
    steps.     history_: what was told while it was trained.     notes_: what was detected in the series.
    horizon_: the steps that the model tells at once.
    """

    def __init__(
        self,
        system: str | Spec[Any] | None = None,
        *,
        horizon: int = 12,
        time: str | None = None,
        group: str | None = None,
        target: str | None = None,
        size: int = 0,
        steps: int | None = 1000,
        seconds: float | None = None,
        recipe: Spec[Recipe] | None = None,
        validation_fraction: float = 0.2,
        random_state: Any = None,
    ) -> None:
        """Store what is said; all of it is checked by ``fit``.

        system, size, steps, seconds, recipe, random_state: as for :class:`VariorumClassifier`.     horizon: steps that
        the model tells at once.     time, group, target: columns of a frame of rows; target: what to forecast, several
        with commas between; None: every column of numbers.     validation_fraction: the share of the steps, the last
        ones, that decides which parameters are kept; they are looked back on, but not trained on.
        """
        self.system, self.horizon, self.size, self.steps, self.seconds = system, horizon, size, steps, seconds
        self.time, self.group, self.target, self.recipe = time, group, target, recipe
        self.validation_fraction, self.random_state = validation_fraction, random_state

    def fit(self, y: Any, X: Any = None, *, horizon: int | None = None, distributed: Distributed | None = None) -> Self:
        """Train on series. horizon: instead of the parameter's.     distributed: over which processes; None: this one.

        X: None, as forecasts are made from the past of the series and their calendar alone.
        """
        _check_alone(X)
        form = Form.of(y, self.time)
        rows = form.rows(y)
        known = [*form.columns] if form.written is not Written.ROWS else []
        target = self.target if self.target is not None else known[0] if len(known) == 1 else None
        task = ForecastTask(
            SOURCE, horizon=self.horizon if horizon is None else horizon, time=form.time, group=self.group,
            target=target, frame=rows, valid=Settled(None, self.validation_fraction).valid,
        )  # fmt: skip
        self._train(task, self._seed(), distributed)
        self.horizon_, self._form = task.horizon, form
        self._naive = np.stack([one.naive for one in task.series])
        last = self._reader.open(rows)
        self._last = (last.series, last.values, last.ends)
        return self

    def predict(self, fh: int | Sequence[int] | None = None) -> Any:
        """Values after the end of the series, in the form in which these were given.

        fh: how many steps, or which ones, the first after the end being 1; None: ``horizon_``. Steps beyond
        ``horizon_`` are told from those before, as if they had come true.
        """
        check_is_fitted(self)
        ahead = _steps_ahead(self.horizon_ if fh is None else fh)
        values, times = self._forecast(int(ahead.max()))
        if self._form.written is not Written.ROWS:
            return self._form.told(values[0, ahead - 1], times[0, ahead - 1])
        reader, said = self._reader, []
        for number, series in enumerate(self._last[0]):
            frame = pd.DataFrame({self._form.time: times[number, ahead - 1]})
            if reader.group is not None:
                frame[reader.group] = reader.groups[series]
            said.append(frame.assign(**dict(zip(reader.targets, values[number, ahead - 1].T, strict=True))))
        return pd.concat(said, ignore_index=True)

    def score(self, y: Any, X: Any = None) -> float:
        """The negative of the MASE: - mean |y - forecast| / scale over all steps and variables of y that are known.

        y: what came after the end of the series; of an array, right after it. scale: what a step of repeating the last
        season costs in training (Hyndman & Koehler 2006), so that -1 is about as good as that.
        """
        check_is_fitted(self)
        _check_alone(X)
        reader, rows = self._reader, self._form.rows(y)
        ahead, series = self._places(rows)
        after = (ahead > 0) & (series >= 0)
        if not after.any():
            raise VariorumError("y", expected="steps after the end of the series", found="none",
                                do="Give what came after what it was fitted on.")  # fmt: skip
        values, _ = self._forecast(int(ahead[after].max()))
        truth = np.stack([numbers(rows[name]) for name in reader.targets], axis=1)[after]
        scale = self._naive[self._last[0]][series[after]]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = np.abs(truth - values[series[after], ahead[after] - 1]) / scale
        judged = np.isfinite(errors)
        if not judged.any():
            raise VariorumError("y", expected="numbers that are known, of series that move", found="none",
                                do="Give others.")  # fmt: skip
        return -float(errors[judged].mean())

    @property
    def _reader(self) -> ForecastRows:
        reader = self._preprocess
        assert isinstance(reader, ForecastRows), "a forecaster's bundle reads series"
        return reader

    def _forecast(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (series, steps, variables) in the user's units, and their times (series, steps)."""
        reader, told = self._reader, []
        contexts = Contexts(*self._last)
        for _ in range(0, steps, self.horizon_):
            made = torch.cat(outputs(self.bundle_, reader, contexts)).numpy()
            told.append(made)
            behind = np.concatenate([contexts.values, made], axis=1)[:, -reader.context :]
            contexts = Contexts(contexts.series, behind.astype(np.float32), contexts.ends + self.horizon_)
        values = np.concatenate(told, axis=1)[:, :steps]
        series, _, ends = self._last
        units = values * reader.scales[series][:, None] + reader.means[series][:, None]
        return units, np.stack([reader.grid.times(end + np.arange(1, steps + 1)) for end in ends])

    def _places(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """For each row: how many steps after the end of its series it is, and the place of this among the last ones; -1
        for a series that was not trained on.
        """
        reader, (series, _, ends) = self._reader, self._last
        place = np.zeros(len(rows), np.int64)
        if reader.group is not None:
            known = {reader.groups[number]: i for i, number in enumerate(series)}
            place = words(rows[reader.group]).map(known).fillna(-1).to_numpy(np.int64)
        if self._form.written is Written.ARRAY:
            return np.arange(1, len(rows) + 1), place
        times = read_times(rows[self._form.time], reader.written)
        readable = ~np.isnan(times)
        ahead = np.zeros(len(rows), np.int64)
        ahead[readable] = reader.grid.index(times[readable]) - ends[place[readable]]
        return ahead, place


def _steps_ahead(fh: Any) -> np.ndarray:
    """The steps that are asked for, 1 being the first after the end."""
    ahead = np.arange(1, fh + 1) if isinstance(fh, int | np.integer) else np.asarray(fh)
    if ahead.ndim != 1 or not ahead.size or ahead.dtype.kind not in "iu" or ahead.min() < 1:
        raise VariorumError("fh", expected="a number of steps, or steps from 1 on", found=repr(fh)[:80],
                            do="Try 12, or [1, 2, 3].")  # fmt: skip
    return ahead


def _check_alone(X: Any) -> None:
    if X is not None:
        raise VariorumError("X", expected="None: forecasts are made from the past of the series and their calendar",
                            found=type(X).__name__, do="Leave it out; y may have several variables.")  # fmt: skip
