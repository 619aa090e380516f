"""Rows with an answer each, a class or a value: how wrong a model is about them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from variorum.compare.shown.shown import Judged
from variorum.data.targets import Target


def answered(outputs: Tensor, targets: Tensor, target: Target) -> list[Judged]:
    """For classes, rows come first whose true class the model held least likely; for values, the farthest off.

    outputs: logits (rows, classes), or standardised values (rows,) or (rows, 1).     targets: (rows,).
    """
    if target.writes == "class":
        return _classes(outputs.double(), targets, target.labels)
    true, said = (_in_units(target, values.double().reshape(-1).numpy()) for values in (targets, outputs))
    return [
        Judged(abs(a - b), {"true": a, "said": b}, (a, b)) for a, b in zip(true.tolist(), said.tolist(), strict=True)
    ]


def _classes(outputs: Tensor, targets: Tensor, labels: Sequence[object]) -> list[Judged]:
    logs = outputs.log_softmax(dim=-1)
    sure, said = logs.max(dim=-1)
    true = logs.gather(-1, targets[:, None])[:, 0]
    # Of rows that are given up altogether (a chance of 0) those come first whose wrong answer is surer.
    wrong = torch.nan_to_num(-true, posinf=1e9) + 1e-3 * sure.exp()
    rows = zip(wrong.tolist(), targets.tolist(), said.tolist(), sure.exp().tolist(), strict=True)
    return [
        Judged(priority, {"true": str(labels[a]), "said": str(labels[b]), "sure": round(chance, 4)}, (a, b))
        for priority, a, b, chance in rows
    ]


def _in_units(target: Target, values: np.ndarray) -> np.ndarray:
    return np.asarray(target.decode(values)["prediction"], dtype=np.float64)
