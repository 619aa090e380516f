"""What a trained model is worth and costs: held-out quality, parameters, bytes on disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from variorum.compare.interval import Scores
from variorum.core import Layout, VariorumError
from variorum.data.task import Batch, Split, Task

BATCH = 128
"""Held-out rows are scored so many at a time."""


def score(model: nn.Module, task: Task, *, split: Split = "test", size: int = BATCH) -> Scores:
    """Scores of a model on all rows of a split; a score that is not a finite number raises :class:`VariorumError`."""
    sums, counts = [], []
    with torch.inference_mode():
        for batch in task.held_out(split, size):
            told = task.scores(model(**batch.inputs), batch.targets).double().flatten()
            if not bool(told.isfinite().all()):
                raise VariorumError("model", expected="finite scores on held-out rows", found="NaN or infinity",
                                    do="Its training diverged: lower the learning rate, or leave it out.")  # fmt: skip
            for piece in by_row(told, batch):
                sums.append(float(piece.sum()))
                counts.append(piece.numel())
    if not sums:
        raise VariorumError("data", expected=f"held-out rows to {split} on", found="none", do="Give more rows.")
    return Scores(np.array(sums), np.array(counts, dtype=float))


def by_row(scores: Tensor, batch: Batch) -> Iterable[Tensor]:
    """The scores ``(targets,)`` of a batch, row by row: one each, or as many as a row has tokens.

    Where some tokens are no targets (the start of a split's last row), rows are cut off at the length of a whole one.
    """
    lengths = row_lengths(batch.inputs)
    if len(scores) == len(lengths):
        return scores.split(1)
    return scores.split(lengths if sum(lengths) == len(scores) else lengths[0])


def row_lengths(inputs: dict[str, Any]) -> list[int]:
    """Tokens of each row of a batch's inputs, as many as there are rows."""
    for value in inputs.values():
        if isinstance(value, Layout) and value.packed:
            return value.lengths
    first = next(value for value in inputs.values() if isinstance(value, Tensor))
    return [first.shape[1] if first.dim() > 1 else 1] * first.shape[0]


def parameters(model: nn.Module) -> int:
    """Numbers that were learned: those of parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
