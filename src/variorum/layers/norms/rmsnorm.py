"""Root-mean-square normalisation. Zhang & Sennrich 2019, arXiv:1910.07467."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Norm, Traits
from variorum.core.traits import POINTWISE


class RMSNorm(Norm):
    """y = x / sqrt(mean(x^2) + eps) * weight, over the last dimension. Zhang & Sennrich 2019, arXiv:1910.07467."""

    traits: Traits = POINTWISE

    def __init__(self, dim: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
