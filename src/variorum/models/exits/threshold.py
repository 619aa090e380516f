"""Leave when the answer is sure. Elbayad et al. 2019, arXiv:1910.10073, section 3.2."""

from collections.abc import Sequence

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.models.exits.policy import ExitPolicy, Seen


class ConfidenceExit(ExitPolicy):
    """n_t = the first n with max_k softmax(scores_n)_k > thresholds_n.

    Elbayad et al. 2019, arXiv:1910.10073. thresholds: one for all exits, or one for each but the last; from 1 on nobody
    leaves early. Nothing is learned: they are chosen on held-out rows.
    """

    examples = ({"exits": 3}, {"thresholds": [0.5, 0.2], "exits": 3})

    def __init__(self, exits: int, *, thresholds: Sequence[float] = (0.9,)) -> None:
        super().__init__()
        if len(thresholds) not in (1, exits - 1):
            raise VariorumError("ConfidenceExit thresholds", expected=f"1 number, or {exits - 1}",
                                found=f"{len(thresholds)}", do="Give one for each exit but the last.")  # fmt: skip
        self.thresholds = tuple(thresholds) * (exits - 1) if len(thresholds) == 1 else tuple(thresholds)

    def forward(self, seen: Seen) -> Tensor:
        if seen.exit >= len(self.thresholds):
            return torch.tensor(True, device=seen.x.device)
        if self.thresholds[seen.exit] >= 1:
            return torch.tensor(False, device=seen.x.device)
        best = seen.scores().softmax(dim=-1).amax(dim=-1)
        return best > self.thresholds[seen.exit]
