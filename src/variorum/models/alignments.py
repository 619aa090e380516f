"""What models that align tokens with labels answer, and what they are held to. Graves et al. 2006; Graves 2012."""

from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Layout


class Labels(NamedTuple):
    """Rows of labels, one after another: ``ids`` (labels,) and their ``lengths`` (rows,)."""

    ids: Int[Tensor, "labels"]
    lengths: Int[Tensor, "rows"]

    @classmethod
    def of(cls, rows: Iterable[list[int]]) -> Self:
        """The labels of these rows."""
        rows = list(rows)
        return cls(torch.tensor([i for row in rows for i in row], dtype=torch.int64),
                   torch.tensor([len(row) for row in rows], dtype=torch.int64))  # fmt: skip

    @property
    def layout(self) -> Layout:
        """How they lie."""
        return Layout.ragged(self.lengths)

    def rows(self) -> list[list[int]]:
        """The labels of each row."""
        return [row.tolist() for row in self.ids.split(self.lengths.tolist())]


class Framewise(NamedTuple):
    """Scores of every label, or none, for each token: ``logits`` (batch, n, vocab) of equal rows, or (tokens, vocab).

    ``lengths`` (rows,) are the tokens of each row.
    """

    logits: Tensor
    lengths: Int[Tensor, "rows"]

    @classmethod
    def of(cls, logits: Tensor, layout: Layout | None) -> Self:
        """The scores of tokens that lie so."""
        return cls(logits, row_lengths(logits, layout))


class Lattice(NamedTuple):
    """Scores of what comes next at every node (t, u): token t was heard, and u labels were said.

    ``logits`` (batch, t, u, vocab) of equal rows, or (nodes, vocab), rows one after another, u fastest; ``tokens`` and
    ``labels`` (rows,): a row has tokens * (labels + 1) nodes.
    """

    logits: Float[Tensor, "*nodes vocab"]
    tokens: Int[Tensor, "rows"]
    labels: Int[Tensor, "rows"]


class Hybrid(NamedTuple):
    """Both answers of one encoder."""

    lattice: Lattice
    framewise: Framewise


def row_lengths(x: Tensor, layout: Layout | None) -> Tensor:
    """(rows,) the tokens of each row of ``x``."""
    if layout is not None and layout.offsets is not None:
        return layout.offsets.diff()
    return torch.full((x.shape[0],), x.shape[1], dtype=torch.int64, device=x.device)
