"""Layer normalisation. Ba, Kiros & Hinton 2016, arXiv:1607.06450."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Norm, Traits
from variorum.core.traits import POINTWISE


class LayerNorm(Norm):
    """y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, over the last dimension.

    Ba, Kiros & Hinton 2016, arXiv:1607.06450. affine: False leaves weight and bias out.
    """

    traits: Traits = POINTWISE
    examples = ({}, {"affine": False})

    def __init__(self, dim: int, *, eps: float = 1e-5, bias: bool = True, affine: bool = True) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.weight = nn.Parameter(torch.ones(dim)) if affine else None
        self.bias = nn.Parameter(torch.zeros(dim)) if bias and affine else None

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return F.layer_norm(x, (self.dim,), self.weight, self.bias, self.eps)
