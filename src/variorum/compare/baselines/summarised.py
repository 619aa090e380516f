"""What the plain models of whole rows share: the rows in numbers, and a linear model fitted to them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Spec
from variorum.data.task import Batch, Task
from variorum.data.whole_rows import WholeRowTask
from variorum.models.on_summary import OnSummary
from variorum.models.summaries.summary import Summary

ROWS = 64
"""Rows that are summed up at a time."""


def whole_rows(task: Task) -> WholeRowTask:
    """The task as one of whole rows."""
    assert isinstance(task, WholeRowTask), "the baseline reads whole rows: series, clouds of points, sounds"
    return task


def rows_of(batch: Batch) -> Iterator[Tensor]:
    """The rows of a batch one by one, each (n, channels)."""
    layout = batch.inputs.get("layout")
    return iter(batch.inputs["inputs"] if layout is None else batch.inputs["inputs"].split(layout.lengths))


def outputs(task: WholeRowTask) -> int:
    """How many numbers answer a row."""
    return len(task.labels) if task.writes == "class" else 1


def summed_up(model: OnSummary, task: WholeRowTask, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Summaries (rows, count) of the rows of these numbers, and their targets."""
    with torch.inference_mode():
        found = [model.summary(**batch.inputs) for batch in task.given(rows, ROWS)]
    joined = torch.cat(found).clone() if found else torch.zeros(0, model.summary.count)
    return joined, task.targets(rows)


def answered(fitted: Any, summary: Spec[Summary], source: OnSummary, task: WholeRowTask) -> OnSummary:
    """A model of what scikit-learn fitted to the standardised summaries, with what ``source`` learned of the rows."""
    model = OnSummary.spec(summary=summary, outputs=outputs(task)).build()
    model.load_state_dict(source.state_dict())
    model.take(fitted)
    return model.eval()


def judged(model: OnSummary, task: WholeRowTask, standard: Tensor, targets: Tensor) -> float:
    """The mean score of standardised summaries."""
    with torch.inference_mode():
        told = model.linear(standard)
        return float(task.scores(told if model.outputs > 1 else told[:, 0], targets).mean())
