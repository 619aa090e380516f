"""Connectionist temporal classification. Graves et al. 2006."""

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError
from variorum.models.alignments import Framewise, Labels


class CTC(Objective):
    """total = sum over rows of -log of the sum, over all paths that read as the labels, of their probability.

    A path is a label or the ``blank`` for each token; it reads without repeats and without blanks. Graves et al. 2006.
    count = number of rows. A row with fewer tokens than its labels need has no path: it adds to neither.
    """

    def __init__(self, *, blank: int = 0) -> None:
        super().__init__()
        self.blank = blank

    def forward(self, outputs: Framewise, targets: Labels) -> Loss:
        if len(outputs.lengths) != len(targets.lengths):
            raise VariorumError("CTC", expected=f"labels of {len(outputs.lengths)} rows",
                                found=f"{len(targets.lengths)}", do="Give the labels of every row.")  # fmt: skip
        logits = outputs.logits.to(torch.promote_types(outputs.logits.dtype, torch.float32)).flatten(0, -2)
        rows = logits.log_softmax(dim=-1).split(outputs.lengths.tolist())
        needed = targets.lengths + _repeats(targets)
        fits = outputs.lengths >= needed
        if not len(rows) or not fits.any():
            return Loss(logits.sum() * 0, fits.sum())
        padded = torch.nn.utils.rnn.pad_sequence(list(rows))
        losses = F.ctc_loss(
            padded,
            targets.ids,
            outputs.lengths,
            targets.lengths,
            blank=self.blank,
            reduction="none",
            zero_infinity=True,
        )
        return Loss(losses.sum(), fits.sum())


def _repeats(targets: Labels) -> Tensor:
    """(rows,) how often a label follows itself: a blank must stand between."""
    row = targets.layout.row_of
    same = (targets.ids[1:] == targets.ids[:-1]) & (row[1:] == row[:-1])
    return torch.zeros_like(targets.lengths).index_add(0, row[1:], same.to(targets.lengths.dtype))
