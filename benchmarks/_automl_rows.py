"""The rows of a task as other tools are given them, and their answers as the task scores them.

Split, order and score are the task's own: other tools get exactly the rows that ours trains and chooses on, and answer
exactly its test rows, in its order.
"""

from functools import singledispatch

import numpy as np
import pandas as pd
import torch
from _automl_given import TARGET, TIME, Facts, Given
from torch import Tensor

from variorum.compare.interval import Scores
from variorum.compare.measure import BATCH, row_lengths
from variorum.core import Layout, VariorumError
from variorum.data.forecast import ForecastTask
from variorum.data.images import ImageTask
from variorum.data.labelled_series import LabelledSeriesTask
from variorum.data.opened import opened
from variorum.data.table import TableTask
from variorum.data.task import Batch, Task
from variorum.data.whole_rows import WholeRowTask

LEARNT = ("train", "valid")
EVERY = 1 << 40
"""More rows than any task has."""


@singledispatch
def given(task: Task) -> Given:
    """What other tools are given of a task."""
    raise VariorumError(type(task).__name__, expected="tables, forecasts, labelled series or images",
                        found=task.reads, do="Compare on another set.")  # fmt: skip


@given.register
def _(task: TableTask) -> Given:
    """The user's own columns, before anything was made of them; classes as the task counts them."""
    frame, _ = opened(task.source, "table")
    name = task.target.name
    if len(frame) != sum(len(task.parts.rows(part)) for part in (*LEARNT, "test")):
        raise VariorumError(task.source, expected="a target in each row", found="rows without", do="Leave them out.")
    rows = frame.drop(columns=name).rename(columns=str)
    if TARGET in rows.columns:
        raise VariorumError(task.source, expected=f"no other column named {TARGET!r}", found="one", do="Rename it.")
    learnt = np.concatenate([task.parts.rows(part) for part in LEARNT])
    told = frame[name].to_numpy(float)[learnt] if task.writes == "value" else _codes(task)
    facts = Facts(task.writes, classes=len(task.labels))
    return Given(facts, rows.iloc[learnt].assign(**{TARGET: told}), rows.iloc[task.parts.rows("test")])


def _codes(task: TableTask | ImageTask) -> np.ndarray:
    return np.concatenate([task.arrays(part)[1] for part in LEARNT])


@given.register
def _(task: ImageTask) -> Given:
    """A column for each value of a pixel."""
    learnt, test = (
        np.concatenate([task.arrays(part)[0] for part in parts]).reshape(-1, np.prod(task.arrays("test")[0].shape[1:]))
        for parts in (LEARNT, ("test",))
    )
    return _numbered(Facts(task.writes, classes=len(task.labels)), learnt, _codes(task), test)


@given.register
def _(task: LabelledSeriesTask) -> Given:
    """A column for each channel of each step; shorter series go on with missing values."""
    parts = [batch for part in LEARNT for batch in task.part(part, BATCH)]
    test = list(task.held_out("test", BATCH))
    length = int(task.rows.lengths.max())
    told = torch.cat([batch.targets for batch in parts]).numpy()
    flat = (np.concatenate([_flat(batch, length) for batch in batches]) for batches in (parts, test))
    return _numbered(Facts(task.writes, classes=len(task.labels)), *(next(flat), told, next(flat)))


def _flat(batch: Batch, length: int) -> np.ndarray:
    """The series of a batch, (rows, length channels)."""
    values, layout = batch.inputs["inputs"], batch.inputs.get("layout")
    rows = list(values) if not isinstance(layout, Layout) else values.split(layout.lengths)
    long = np.full((len(rows), length, rows[0].shape[-1]), np.nan, np.float32)
    for i, row in enumerate(rows):
        long[i, : len(row)] = row.numpy()
    return long.reshape(len(rows), -1)


def _numbered(facts: Facts, learnt: np.ndarray, told: np.ndarray, test: np.ndarray) -> Given:
    names = [f"x{i}" for i in range(learnt.shape[1])]
    return Given(facts, pd.DataFrame(learnt, columns=names).assign(**{TARGET: told}), pd.DataFrame(test, columns=names))


@given.register
def _(task: ForecastTask) -> Given:
    """The series up to the test part to learn from, and what each test window may look back on."""
    if len(task.series) != 1 or task.facts["variables"] != 1:
        found = f"{len(task.series)} of {task.facts['variables']}"
        raise VariorumError(task.source, expected="one series of one variable", found=found, do="Name one target.")
    one, rows = task.series[0].series, task.rows.build()
    origins = windows_of(task)
    frame = pd.DataFrame({TIME: rows.grid.times(one.steps), TARGET: one.values[:, 0]})
    facts = Facts("series", horizon=task.horizon, season=task.season, cycles=tuple(rows.grid.seasons),
                  origins=tuple(origins.tolist()))  # fmt: skip
    return Given(facts, frame.iloc[: origins[0]], frame.iloc[origins[0] : origins[-1]])


def windows_of(task: ForecastTask) -> np.ndarray:
    """Where the horizons of the test windows begin in the series: one after another up to its end, which is checked."""
    one, rows = task.series[0].series, task.rows.build()
    _, ahead = task.windows("test", EVERY)
    origins = len(one.values) - task.horizon * np.arange(len(ahead), 0, -1)
    found = np.stack([rows.standardise(0, one.values[i : i + task.horizon]) for i in origins])
    if not np.array_equal(found, ahead):
        raise VariorumError(task.source, expected="test windows one after another up to the end of the series",
                            found="others", do="Give more rows, so that windows need not overlap.")  # fmt: skip
    return origins


@singledispatch
def outputs(task: Task, answers: np.ndarray) -> Tensor:
    """Answers in the user's terms as a model of the task would give them."""
    return torch.from_numpy(answers)


@outputs.register
def _(task: TableTask, answers: np.ndarray) -> Tensor:
    return torch.from_numpy(task.target.encode(pd.Series(answers)) if task.writes == "value" else answers)


@outputs.register
def _(task: WholeRowTask, answers: np.ndarray) -> Tensor:
    if task.writes == "value":
        raise VariorumError(type(task).__name__, expected="classes", found="values", do="Compare on another set.")
    return torch.from_numpy(answers)


@outputs.register
def _(task: ForecastTask, answers: np.ndarray) -> Tensor:
    return torch.from_numpy(task.rows.build().standardise(0, answers[..., None]))


def test_rows(task: Task) -> list[int]:
    """How many test rows there are in each batch that is scored."""
    return [len(row_lengths(batch.inputs)) for batch in task.held_out("test", BATCH)]


def scored(task: Task, answers: np.ndarray) -> Scores:
    """The scores of answers to all test rows, in the order of the task's."""
    made, sizes = outputs(task, answers), test_rows(task)
    if len(made) != sum(sizes) or not bool(made.isfinite().all()):
        raise VariorumError("answers", expected=f"finite ones to {sum(sizes)} test rows", found=f"{len(made)}, "
                            f"{'all' if bool(made.isfinite().all()) else 'not all'} of them finite",
                            do="See the log of the tool.")  # fmt: skip
    pieces = zip(made.split(sizes), task.held_out("test", BATCH), strict=True)
    sums = torch.cat([task.scores(piece, batch.targets).double() for piece, batch in pieces]).numpy()
    return Scores(sums, np.ones_like(sums))
