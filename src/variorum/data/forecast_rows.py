"""Rows of a table with a column of times as windows of series, and forecasts as rows with times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Spec, VariorumError
from variorum.core.errors import nearest
from variorum.data.columns import LARGEST as FARTHEST
from variorum.data.columns import numbers, words
from variorum.data.given_frame import say, to_answer
from variorum.data.opened import opened
from variorum.data.preprocess import Preprocess
from variorum.data.regular import Regular, regular, repairs
from variorum.data.time_grid import EvenGrid, NumberGrid, TimeGrid
from variorum.data.times import MOST_UNREADABLE, NUMBERS, read_times
from variorum.layers.series_code import bits, code

if TYPE_CHECKING:
    import pandas as pd


LARGEST = float(np.finfo(np.float32).max)
"""Numbers of this size and more are no measurements, and missing."""


@dataclass(frozen=True)
class Contexts:
    """What forecasts are made from: the last steps of some series.

    series: their numbers (rows,).     values: (rows, context, variables), standardised.
    ends: their last steps (rows,).
    """

    series: np.ndarray
    values: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.series)


class ForecastRows(Preprocess):
    """The last ``context`` steps of each series -> float32 (rows, context + horizon, variables + calendar).

    A variable of a series is (y - mean) / scale, blank (0) where it is to be forecast; the calendar is known for all
    steps and ends with the number of the series in binary.

    time, group, targets: names of columns; no group: one series.     written: how times are written.
    groups: names of the series.     means, scales: of each series, variable by variable.
    limit: steps in a row that are filled where they are missing.
    """

    reads = "series"
    examples = (
        {"time": "day", "written": "ISO8601", "grid": EvenGrid.spec(every=86_400_000_000, origin=0), "group": "shop",
         "groups": ("a", "b", "c"), "targets": ("sales", "visits"), "means": (0.0,) * 6, "scales": (1.0,) * 6,
         "context": 6, "horizon": 3, "limit": 7},
        {"time": "year", "written": NUMBERS, "grid": NumberGrid.spec(every=1.0, origin=1900.0), "group": None,
         "groups": ("",), "targets": ("spots",), "means": (5.0,), "scales": (2.0,), "context": 4, "horizon": 2,
         "limit": 3},
    )  # fmt: skip

    def __init__(
        self,
        *,
        time: str,
        written: str,
        grid: Spec[TimeGrid],
        group: str | None,
        groups: Sequence[str],
        targets: Sequence[str],
        means: Sequence[float],
        scales: Sequence[float],
        context: int,
        horizon: int,
        limit: int,
    ) -> None:
        self.time, self.written, self.grid, self.group = time, written, grid.build(), group
        self.groups, self.targets = tuple(groups), tuple(targets)
        shape = (len(self.groups), len(self.targets))
        if not len(means) == len(scales) == shape[0] * shape[1]:
            raise VariorumError("ForecastRows", expected=f"{shape[0] * shape[1]} means and scales",
                                found=f"{len(means)} and {len(scales)}",
                                do="Give one for each variable of each series.")  # fmt: skip
        self.means, self.scales = (np.array(part, np.float64).reshape(shape) for part in (means, scales))
        self.context, self.horizon, self.limit = context, horizon, limit

    @property
    def calendar(self) -> int:
        """Features of a step beside the variables."""
        return self.grid.features + bits(len(self.groups))

    def standardise(self, series: int, values: np.ndarray) -> np.ndarray:
        """(n, variables) in the user's units -> float32 in deviations from the mean of the training part."""
        return ((values - self.means[series]) / self.scales[series]).astype(np.float32)

    def features(self, series: int, steps: np.ndarray) -> np.ndarray:
        """What is known of steps (n,) of a series ahead of time: (n, calendar) float32."""
        told = code(torch.tensor(series), len(self.groups)).numpy()
        return np.concatenate([self.grid.calendar(steps), np.broadcast_to(told, (len(steps), len(told)))], axis=1)

    def open(self, rows: Any) -> Contexts:
        """Rows from a path, a DataFrame, a dictionary of columns, or a list of dictionaries; times in any order."""
        columns = (self.time, *self.targets, *((self.group,) if self.group is not None else ()))
        frame = to_answer(_frame(rows), columns)
        found = self._found(frame)
        # A model in float32 stays finite however far off a new value is.
        values = [self.standardise(number, one.values[-self.context :]).clip(-FARTHEST, FARTHEST)
                  for number, one in found]  # fmt: skip
        empty = np.zeros((0, self.context, len(self.targets)), np.float32)
        return Contexts(
            np.array([number for number, _ in found], np.int64),
            np.stack(values) if values else empty,
            np.array([one.start + len(one) - 1 for _, one in found], np.int64),
        )

    def _found(self, frame: "pd.DataFrame") -> list[tuple[int, Regular]]:
        """The series of the rows, each long enough."""
        if not len(frame):
            return []
        times = read_times(frame[self.time], self.written)
        if np.isnan(times).sum() > MOST_UNREADABLE * len(times):
            example = str(frame[self.time].iloc[int(np.flatnonzero(np.isnan(times))[0])])[:60]
            raise VariorumError(f"time column {self.time!r}", expected=f"times written as in training ({self.written})",
                                found=f"{example!r}", do="Write them alike.")  # fmt: skip
        of = self._numbers(frame)
        found, faults = series_of(frame, times, of, self.grid, self.targets, limit=self.limit, names=self.groups)
        if faults:
            raise faults[0]
        say([*left_out(times, of, self.group), *repairs((one for _, one in found), self.limit)])
        for number, one in found:
            if len(one) < self.context:
                raise VariorumError(series_name(self.groups[number]), expected=f"at least {self.context} steps, "
                                    f"{self.grid.says}, which a forecast looks back on", found=f"{len(one)}",
                                    do="Give earlier rows too.")  # fmt: skip
        return found

    def _numbers(self, frame: "pd.DataFrame") -> np.ndarray:
        """For each row the number of its series; -1 where its name is missing."""
        if self.group is None:
            return np.zeros(len(frame), np.int64)
        names = words(frame[self.group])
        known = {name: number for number, name in enumerate(self.groups)}
        strange = [name for name in names.dropna().unique() if name not in known]
        if strange:
            raise VariorumError(f"{self.group} {strange[0]!r}", expected="a series that the model was trained on",
                                found="a new one", do=f"Train on it too. {nearest(strange[0], known)}")  # fmt: skip
        return names.map(known).fillna(-1).to_numpy(np.int64)

    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        for first in range(0, len(rows), size):
            piece = range(first, min(first + size, len(rows)))
            yield {"inputs": torch.from_numpy(np.stack([self._input(rows, i) for i in piece]))}

    def _input(self, rows: Contexts, i: int) -> np.ndarray:
        steps = rows.ends[i] + np.arange(1 - self.context, self.horizon + 1)
        blank = np.zeros((self.horizon, len(self.targets)), np.float32)
        return np.concatenate([np.concatenate([rows.values[i], blank]), self.features(int(rows.series[i]), steps)], 1)

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"inputs": {0: "batch"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((rows, self.context, len(self.targets))).astype(np.float32)
        made = Contexts(rng.integers(len(self.groups), size=rows), values, rng.integers(1000, size=rows))
        return next(self.batches(made, rows))

    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        """One line for each series and step ahead: the time, the series, and each variable in the user's units."""
        import pandas as pd

        shape = (len(rows), self.horizon, len(self.targets))
        told = torch.cat(outputs).double().numpy() if outputs else np.zeros(shape)
        values = told * self.scales[rows.series][:, None] + self.means[rows.series][:, None]
        steps = (rows.ends[:, None] + np.arange(1, self.horizon + 1)).ravel()
        frame = pd.DataFrame({self.time: self.grid.times(steps)})
        if self.group is not None:
            frame[self.group] = np.repeat(np.array(self.groups, dtype=object)[rows.series], self.horizon)
        for v, name in enumerate(self.targets):
            frame[name] = values[:, :, v].ravel()
        return frame


def series_of(
    frame: "pd.DataFrame", times: np.ndarray, numbers_of: np.ndarray, grid: TimeGrid, targets: Sequence[str], *,
    limit: int, names: Sequence[str],
) -> tuple[list[tuple[int, Regular]], list[VariorumError]]:  # fmt: skip
    """The series in the rows, by number, and what is wrong with those that cannot be put on regular steps.

    Rows whose time or series is missing are left out.
    """
    kept = np.flatnonzero(~np.isnan(times) & (numbers_of >= 0))
    if not len(kept):
        raise VariorumError("rows", expected="rows that tell their time and series", found="none",
                            do="Give rows with times.")  # fmt: skip
    index = grid.index(times[kept])
    values = np.stack([numbers(frame[name])[kept] for name in targets], axis=1)
    values = np.where(np.abs(values) < LARGEST, values, np.nan)
    order = np.argsort(numbers_of[kept], kind="stable")
    different, first = np.unique(numbers_of[kept][order], return_index=True)
    found, faults = [], []
    for number, rows in zip(different, np.split(order, first[1:]), strict=True):
        try:
            found.append(
                (int(number), regular(index[rows], values[rows], limit=limit, subject=series_name(names[number])))
            )
        except VariorumError as error:
            faults.append(error)
    return found, faults


def left_out(times: np.ndarray, numbers_of: np.ndarray, group: str | None) -> list[str]:
    """A sentence for each kind of rows that :func:`series_of` leaves out."""
    notes = []
    if gone := int(np.isnan(times).sum()):
        notes.append(f"{gone} rows without a time that can be read are left out.")
    if gone := int((numbers_of < 0).sum()):
        notes.append(f"{gone} rows without a name of {group!r} are left out.")
    return notes


def series_name(name: str) -> str:
    """How an error names a series."""
    return f"series {name!r}" if name else "series"


def _frame(rows: Any) -> "pd.DataFrame":
    import pandas as pd

    if isinstance(rows, str | Path):
        frame, said = opened(rows, "series")
        say(said)
        return frame
    if isinstance(rows, pd.DataFrame):
        return rows
    try:
        return pd.DataFrame(rows)
    except (ValueError, TypeError) as error:
        raise VariorumError("rows", expected="a path, a DataFrame, columns by name, or a list of dictionaries",
                            found=f"{type(rows).__name__}: {error}", do="Give one of these.") from None  # fmt: skip
