"""Dice and cross-entropy together, as segmentation in medicine is trained. Isensee et al. 2018, arXiv:1809.10486."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError
from variorum.objectives.dice import count_of, overlap, prepared


class DiceCrossEntropy(Objective):
    """total = sum over rows of dice * (1 - mean_k D_k) + cross_entropy * mean_v -log softmax(logits_v)_t; count = rows.

    Isensee et al. 2018, arXiv:1809.10486 (nnU-Net), both with weight 1. D_k is the soft Dice of foreground class k (see
    :class:`variorum.objectives.dice.Dice`), v runs over the cells of a row. Logits (rows, *cells, classes), targets
    (rows, *cells) int64; coarser logits are judged by the targets at their cells' places.
    """

    def __init__(self, *, dice: float = 1.0, cross_entropy: float = 1.0, smooth: float = 1e-5) -> None:
        super().__init__()
        if min(dice, cross_entropy) < 0 or dice + cross_entropy <= 0 or smooth <= 0:
            raise VariorumError("DiceCrossEntropy", expected="weights not below 0, one above, and smooth above 0",
                                found=f"{dice}, {cross_entropy}, {smooth}", do="Choose others.")  # fmt: skip
        self.dice, self.cross_entropy, self.smooth = dice, cross_entropy, smooth

    def forward(self, outputs: Float[Tensor, "batch *cells classes"], targets: Int[Tensor, "batch *places"]) -> Loss:
        logits, found = prepared(outputs, targets)
        missed = 1 - overlap(logits.softmax(dim=-1), found, self.smooth).mean(dim=1)
        surprise = F.cross_entropy(logits.transpose(1, 2), found, reduction="none").mean(dim=1)
        rows = self.dice * missed + self.cross_entropy * surprise
        return Loss(rows.sum(), count_of(rows))
