"""What one finished model gets right and wrong on the test split, row by row, as plain JSON for the report.

What a row looks like is said by its kind of data (see :mod:`variorum.compare.shown`); here rows are asked and counted.
"""

import heapq
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from variorum.compare.measure import row_lengths
from variorum.compare.shown.shown import Judged, Seen, find_shown
from variorum.data.task import Task

SIZE = 16
"""Rows that are asked at a time."""
MOST_ROWS = 2000
"""Of a larger test split, so many rows are asked, evenly over it."""
SECONDS = 2.0
"""That the model may take."""
MOST_CLASSES = 30
"""Of more classes, the confusion of those with the most mistakes is shown."""
MOST_DOTS = 500
"""Of predicted over true values."""


def gallery(model: nn.Module, task: Task, *, most: int = 12) -> dict[str, Any]:
    """The model's answers on test rows, as plain JSON; without rows to show for a kind of data that nobody shows.

    rows: how many were asked, ``of`` all.     shown: ``most`` of them with title, truth and answer, the hardest first
    (of forecasts, some evenly over the split).     confusion: labels, and counts[true][predicted].
    confused: the most frequent mistakes.     scatter: true and predicted values.
    """
    shown = find_shown(task.preprocess.cls) if task.preprocess is not None else None
    if shown is None or task.preprocess is None:
        return {"rows": 0, "of": 0, "shown": []}
    reader, total = task.preprocess.build(), _rows(task)
    best: list[tuple[float, int, dict[str, Any]]] = []
    pairs, asked = list[tuple[float, float]](), 0
    for seen in _seen(model, task, reader, total):
        judged = shown.judged(seen)
        asked += len(judged)
        pairs += [one.pair for one in judged if one.pair is not None]
        for index, one in enumerate(judged):
            # An earlier row wins over a later one that is as hard.
            place = (one.priority, -(seen.first + index))
            if len(best) < most or place > best[0][:2]:
                entry = (*place, {**_said(one), **shown.row(seen, index)})
                if len(best) < most:
                    heapq.heappush(best, entry)
                else:
                    heapq.heapreplace(best, entry)
    rows = [row for _, _, row in sorted(best, key=lambda entry: (-entry[0], -entry[1]))]
    found: dict[str, Any] = {"rows": asked, "of": total, "title": shown.title, "shown": rows}
    if pairs and task.labels:
        found |= confusion(np.array(pairs, dtype=np.int64), [str(label) for label in task.labels])
    elif pairs:
        kept = np.array(pairs)[np.linspace(0, len(pairs) - 1, min(MOST_DOTS, len(pairs))).round().astype(int)]
        found["scatter"] = {"true": _short(kept[:, 0]), "said": _short(kept[:, 1])}
    return found


def confusion(pairs: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """Counts[true][predicted] of pairs (rows, 2) of class numbers, and the mistakes by how often they were made."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:8]
    mistakes = [(labels[i // len(labels)], labels[i % len(labels)], int(wrong.flat[i])) for i in order.tolist()]
    errors = wrong.sum(axis=0) + wrong.sum(axis=1)
    kept = np.sort(np.argsort(-errors, kind="stable")[:MOST_CLASSES])
    return {
        "confusion": {
            "labels": [labels[i] for i in kept.tolist()],
            "counts": counts[np.ix_(kept, kept)].tolist(),
            "classes": len(labels),
        },
        "confused": [list(mistake) for mistake in mistakes if mistake[2]],
    }


def _seen(model: nn.Module, task: Task, reader: Any, total: int) -> Iterator[Seen]:
    """Batches evenly over the test split, as many as time allows, with the model's answers."""
    batches = math.ceil(total / SIZE)
    every, following, spent, asked = max(1.0, total / MOST_ROWS), 0.0, 0.0, 0
    for index, batch in enumerate(task.held_out("test", SIZE)):
        if index < round(following):
            continue
        began = time.monotonic()
        with torch.inference_mode():
            outputs = model(**batch.inputs)
        took = time.monotonic() - began
        spent, asked = spent + took, asked + 1
        yield Seen(task, reader, batch, outputs, index * SIZE)
        if asked == 2:
            # The first call pays for what later ones find ready: the second tells what a batch takes.
            affordable = max(1.0, (SECONDS - spent) / max(took, 1e-6))
            every = max(every, batches / affordable)
        following = index + every
        if spent > SECONDS:
            return


def _rows(task: Task) -> int:
    return sum(len(row_lengths(batch.inputs)) for batch in task.held_out("test", 1024))


def _said(one: Judged) -> dict[str, Any]:
    return {name: float(f"{v:.5g}") if isinstance(v, float) else v for name, v in one.says.items()}


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
