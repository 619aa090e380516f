"""A focal loss for maps of centres, lenient near them. Law & Deng 2018, arXiv:1808.01244."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError


class CentreFocal(Objective):
    """total = -sum (1 - p)^a log p where a target is 1, and -sum (1 - target)^b p^a log(1 - p) elsewhere.

    Law & Deng 2018, arXiv:1808.01244; Zhou et al. 2019, arXiv:1904.07850: a = 2, b = 4. p is the sigmoid of the
    outputs; targets, of the same shape, are 1 at centres and fall off around them. count = number of centres.
    Raises :class:`VariorumError` when the shapes do not fit.
    """

    def __init__(self, *, a: float = 2.0, b: float = 4.0) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, outputs: Float[Tensor, "*any"], targets: Float[Tensor, "*any"]) -> Loss:
        if outputs.shape != targets.shape:
            raise VariorumError("CentreFocal", expected=f"targets of shape {tuple(outputs.shape)}, like the outputs",
                                found=f"{tuple(targets.shape)}", do="Give a number for each cell.")  # fmt: skip
        logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        p, centre = logits.sigmoid(), targets == 1
        hit = (1 - p) ** self.a * F.softplus(-logits)
        miss = (1 - targets.clamp(max=1)) ** self.b * p**self.a * F.softplus(logits)
        return Loss(torch.where(centre, hit, miss).sum(), centre.sum())
