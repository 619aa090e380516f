"""Pairs of texts as bytes, and whether they belong together. Tay et al. 2020, arXiv:2011.04006."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from variorum.data.divided_token_rows import DividedTokenRows
from variorum.data.task import Batch
from variorum.data.token_rows import TokenRows


class BytePairs(DividedTokenRows, abstract=True):
    """Do two texts, read byte by byte, belong together? The metric is accuracy.

    Tay et al. 2020, arXiv:2011.04006 (document retrieval). inputs ``other`` and ``inputs``: packed ids of bytes, one
    row each of a pair. A class gives ``rows``, the first of each pair, ``seconds``, ``classes`` and ``length``.
    """

    reads = "byte pairs"
    metric = "accuracy"
    writes = "class"
    labels = ("apart", "together")
    seconds: TokenRows
    classes: np.ndarray
    length: int

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": 256, "classes": len(self.labels), "length": self.length}

    def _batch(self, rows: np.ndarray) -> Batch:
        other, other_layout = self.rows.packed(rows)
        ids, layout = self.seconds.packed(rows)
        inputs = {"other": other, "other_layout": other_layout, "inputs": ids, "layout": layout}
        return Batch(inputs, torch.from_numpy(self.classes[rows]))


def byte_rows(texts: Iterable[str], longest: int) -> TokenRows:
    """The first ``longest`` bytes of each text in UTF-8, each byte its own id."""
    every = [text.encode("utf-8", errors="replace") for text in texts]
    rows = [np.frombuffer(raw[:longest], np.uint8) for raw in every]
    lengths = np.array([len(row) for row in rows], np.int64)
    cut = sum(len(raw) > longest for raw in every)
    return TokenRows(np.concatenate(rows).astype(np.int32), np.append(0, lengths.cumsum()), cut)
