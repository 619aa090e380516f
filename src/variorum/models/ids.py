"""Ids of rows in either form, one after another."""

import torch
from torch import Tensor

from variorum.core import Layout


def rows_of_tokens(ids: Tensor, layout: Layout | None) -> tuple[Tensor, Tensor, int]:
    """Ids of rows in either form one after another, the row of each, and how many rows there are."""
    if layout is not None and layout.packed:
        return ids, layout.row_of, len(layout.lengths)
    rows, n = ids.shape
    return ids.flatten(), torch.arange(rows, device=ids.device).repeat_interleave(n), rows
