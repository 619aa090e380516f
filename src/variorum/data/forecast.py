"""Forecasting: series on regular steps, and the next ``horizon`` steps of each to tell."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.divided import Divided
from variorum.data.draw import draw
from variorum.data.forecast_rows import ForecastRows
from variorum.data.opened import opened
from variorum.data.preprocess import Preprocess
from variorum.data.scaled_series import ScaledSeries, scaled
from variorum.data.series_table import SeriesTable, read_columns
from variorum.data.sets.bundled import find_set
from variorum.data.task import Batch, Split
from variorum.data.windows import Cuts, Plan, apart, cut, cut_before_end, plan, starts
from variorum.objectives.scaled_error import ScaledAbsoluteError


class ForecastTask(Divided):
    """Forecast the next ``horizon`` steps of every series; the score is the MASE, lower is better.

    MASE of a window = mean over its steps and variables of |y - forecast| / scale, where the scale of a variable of a
    series is the mean of |y_t - y_(t - season)| over its training part: 1 is what a step of repeating the last season
    costs there, so that series of any unit are alike. Hyndman & Koehler 2006. Values that were filled in, and variables
    that do not move in the training part, are not judged.

    source: a .csv, .tsv or .parquet file, or a bundled name.     horizon: steps to forecast.
    time, group, target: columns; without group there is one series; without target every column of numbers is told.
    frame: the rows, when they have been read already; ``source`` then only names them.     valid: the share of the last
    steps that a training is judged on, when none are to be kept for a test.

    Times are put on regular steps (see :func:`variorum.data.pace.find_grid` and :mod:`variorum.data.regular`). The same
    times divide all series: what follows the first 60 percent of all steps is not trained on, the last 20 percent are
    the test part. What a window tells lies within one part; the context that a held-out window looks back on may begin
    in the part before, as what is forecast is never in it. Series are standardised by their training part. ``notes``
    say what was detected, repaired and left out.

    inputs: (batch, context + horizon, variables + calendar), values of the horizon blank (see
    :class:`~variorum.data.forecast_rows.ForecastRows`).  targets: values and weights, (batch, horizon, variables) each.
    """

    reads = "series"
    metric = "MASE"
    higher_is_better = False
    examples = ({"source": "sunspots"}, {"source": "stocks"})

    def __init__(
        self, source: str, *, horizon: int | None = None, time: str | None = None, group: str | None = None,
        target: str | None = None, frame: Any = None, valid: float | None = None,
    ) -> None:  # fmt: skip
        bundled = find_set(source, "series") if frame is None else None
        usual = bundled.asks if bundled else {}
        frame, notes = (frame, ()) if frame is not None else opened(source, "series")
        horizon = horizon if horizon is not None else usual.get("horizon")
        if horizon is None or horizon < 1:
            raise VariorumError(f"{source} horizon", expected="how many steps to forecast, at least 1",
                                found="none" if horizon is None else str(horizon), do="Try --horizon 12.")  # fmt: skip
        self.source, self.horizon = source, horizon
        table = read_columns(
            frame, source, time=time or usual.get("time"), group=group or usual.get("group"),
            target=target or usual.get("target"),
        )  # fmt: skip
        steps = [one.steps for _, one in table.series]
        cuts = cut(steps, horizon) if valid is None else cut_before_end(steps, horizon, valid)
        trained = [one.values[: max(0, cuts.valid - one.start)] for _, one in table.series]
        chosen = plan(trained, table.grid.build().seasons, horizon)
        self.context, self.season = chosen.context, chosen.season
        usable, left_out = _usable(table, cuts, chosen, horizon)
        self.series: tuple[ScaledSeries, ...] = usable
        """The series in the order of their numbers in the preprocess; the training part teaches their scales."""
        self.rows, said = self._preprocess(table), _says(table, chosen)
        self.preprocess: Spec[Preprocess] = self.rows
        self._lay_out()
        self._cuts = cuts
        self._starts, overlap = self._windows_of(cuts)
        self.notes: tuple[str, ...] = (*notes, *table.notes, *left_out, *said, *self._says_parts(table, cuts), *overlap)

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "variables": self._values.shape[1], "calendar": self._features.shape[1], "horizon": self.horizon,
            "context": self.context, "season": self.season, "series": len(self.series),
        }  # fmt: skip

    @property
    def objective(self) -> Spec[Objective]:
        return ScaledAbsoluteError.spec()

    def batch(self, step: int, size: int, seed: int) -> Batch:
        first = self._starts["train"]
        return self._batch(first[draw(len(first), step, size, seed)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        first = self._starts[split]
        return (self._batch(first[i : i + size]) for i in range(0, len(first), size))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        """The MASE of each window."""
        values, weights = targets
        errors = (weights * (outputs - values).abs()).sum(dim=(1, 2))
        return errors / (weights > 0).sum(dim=(1, 2)).clamp(min=1)

    def once_chosen(self) -> Self:
        task = copy.copy(self)
        task._cuts = self._cuts.once_chosen(self.horizon)
        task._starts, _ = task._windows_of(task._cuts)
        return task

    def windows(self, part: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        """At most ``most`` windows of train, valid or test, evenly over it: contexts (windows, context, variables) and
        what follows (windows, horizon, variables), standardised.
        """
        first = self._starts[part]
        first = first[np.linspace(0, len(first) - 1, min(most, len(first))).round().astype(int)]
        values = self._values.numpy()[first[:, None] + np.arange(self.context + self.horizon)]
        return values[:, : self.context], values[:, self.context :]

    def _preprocess(self, table: SeriesTable) -> Spec[ForecastRows]:
        told = {part: tuple(float(x) for one in self.series for x in getattr(one, part)) for part in ("mean", "scale")}
        return ForecastRows.spec(
            time=table.time, written=table.written, grid=table.grid, group=table.group,
            groups=tuple(table.names[one.number] for one in self.series), targets=table.targets, means=told["mean"],
            scales=told["scale"], context=self.context, horizon=self.horizon, limit=table.limit,
        )  # fmt: skip

    def _lay_out(self) -> None:
        """All series joined: values, what is known ahead of time, and weights, a row for each step."""
        rows = self.rows.build()
        every = list(enumerate(one.series for one in self.series))
        self._values = torch.from_numpy(np.concatenate([rows.standardise(i, one.values) for i, one in every]))
        self._features = torch.from_numpy(np.concatenate([rows.features(i, one.steps) for i, one in every]))
        self._weights = torch.from_numpy(np.concatenate([one.weights for one in self.series]).astype(np.float32))

    def _windows_of(self, cuts: Cuts) -> tuple[dict[str, np.ndarray], list[str]]:
        """Where the windows of each part begin; and a note if held-out ones overlap."""
        steps = [one.series.steps for one in self.series]
        real = (self._weights > 0).any(dim=1).numpy()
        begin = min(int(one[0]) for one in steps)
        told = {"train": (begin, cuts.valid), "valid": (cuts.valid, cuts.test), "test": (cuts.test, cuts.end)}
        found = {part: starts(steps, real, told[part], self.context, self.horizon) for part in told}
        notes = []
        for part, first in found.items():
            if cuts.test == cuts.end and part == "test":
                continue
            if not len(first):
                raise VariorumError(self.source, expected=f"windows with known values to {part} on", found="none",
                                    do="Give more rows, or a shorter --horizon.")  # fmt: skip
            if part != "train":
                found[part], every = apart(first, steps, self.horizon)
                if every < self.horizon and part == "test":
                    notes.append(f"Test windows begin every {every} steps and overlap, as there are few: intervals are "
                                 "narrower than they should be.")  # fmt: skip
        return found, notes

    def _says_parts(self, table: SeriesTable, cuts: Cuts) -> list[str]:
        valid, test = (_word(time) for time in table.grid.build().times(np.array([cuts.valid, cuts.test])))
        counts = {part: len(first) for part, first in self._starts.items()}
        series = f" of {len(self.series)} series" if len(self.series) > 1 else ""
        if cuts.test == cuts.end:
            return [f"Split by time: validation from {valid}; {counts['train']} training and {counts['valid']} "
                    f"validation windows{series}."]  # fmt: skip
        return [f"Split by time: validation from {valid}, test from {test}; {counts['train']} training, "
                f"{counts['valid']} validation and {counts['test']} test windows{series}."]  # fmt: skip

    def _batch(self, first: np.ndarray) -> Batch:
        rows = torch.from_numpy(first)[:, None] + torch.arange(self.context + self.horizon)
        values, ahead = self._values[rows], rows[:, self.context :]
        blank = torch.cat([values[:, : self.context], torch.zeros_like(values[:, self.context :])], dim=1)
        inputs = torch.cat([blank, self._features[rows]], dim=-1)
        return Batch({"inputs": inputs}, (values[:, self.context :], self._weights[ahead]))


def _usable(table: SeriesTable, cuts: Cuts, chosen: Plan, horizon: int) -> tuple[tuple[ScaledSeries, ...], list[str]]:
    """The series that are long enough and move; and notes on the others."""
    found, short, flat, still = [], [], [], 0
    for number, one in table.series:
        trained = min(len(one), cuts.valid - one.start)
        if trained < chosen.context + horizon:
            short.append(table.names[number])
            continue
        each = scaled(number, one, trained, chosen.season)
        moves = each.naive > 0
        if not moves.any():
            flat.append(table.names[number])
            continue
        still += int((~moves).sum())
        found.append(each)
    notes = [f"{len(names)} series are left out, as they {why}: {_some(names)}." for names, why in (
        (short, f"have fewer than {chosen.context + horizon} steps to train on"),
        (flat, "are the same in every training row"),
    ) if names]  # fmt: skip
    if not found:
        raise VariorumError("series", expected=f"one that moves, of at least {chosen.context + horizon} training steps",
                            found=" ".join(notes).rstrip(".") if table.group else
                            "one that is the same in every training row" if flat else "a shorter one",
                            do="Give more rows, or a shorter --horizon.")  # fmt: skip
    if still:
        notes.append(f"{still} variables of series are the same in every training row and are not judged.")
    return tuple(found), notes


def _says(table: SeriesTable, chosen: Plan) -> list[str]:
    season = f"repeating after {chosen.season} steps" if chosen.season > 1 else "without a season"
    return [f"Steps: {table.grid.build().says}, {season}. A forecast looks back {chosen.context} steps."]


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")


def _word(time: Any) -> str:
    """A time without the parts that are zero."""
    return str(time).removesuffix(".000000").removesuffix("T00:00:00")
