"""Rows of any length, one after another in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout


class Uneven:
    """Rows (n_i, channels), kept as one tensor; what a model is given of them is never padded.

    ``equal``: have all rows the same length? Then a batch is one of equal rows, else it is packed.
    """

    def __init__(self, rows: Sequence[np.ndarray]) -> None:
        self.lengths = np.array([len(row) for row in rows], dtype=np.int64)
        self.values: Float[Tensor, "tokens channels"] = torch.from_numpy(np.concatenate(rows).astype(np.float32))
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.equal = len(set(self.lengths.tolist())) == 1

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, index: int) -> Float[Tensor, "n channels"]:
        """One row."""
        return self.values[self.starts[index] : self.starts[index + 1]]

    def given(self, index: np.ndarray) -> dict[str, Any]:
        """The arguments of a model's forward for the rows of these numbers."""
        if self.equal:
            whole = self.values.view(len(self), -1, self.values.shape[1])
            return {"inputs": whole[torch.from_numpy(index)]}
        return packed([self.row(i) for i in index.tolist()])


def packed(rows: Sequence[Tensor]) -> dict[str, Any]:
    """Rows one after another, and how they lie."""
    return {"inputs": torch.cat(list(rows)), "layout": Layout.ragged([len(row) for row in rows])}


def arguments(rows: Sequence[Tensor]) -> dict[str, Any]:
    """The arguments of a model's forward for some rows: a batch if they are of one length, else packed."""
    if len({len(row) for row in rows}) == 1:
        return {"inputs": torch.stack(list(rows))}
    return packed(rows)
