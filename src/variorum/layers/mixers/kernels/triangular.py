"""Many small unit lower triangular matrices inverted at once."""

from typing import Any

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.operands import full_precision


def unit_lower_inverse(lower: Tensor) -> Tensor:
    """X = (I + L)^-1, where L is the part of ``lower`` (..., c, c) strictly below its diagonal; the rest is not read.

    The heart of the UT transform, by which a product of Householder-like matrices becomes one product of matrices:
    Joffrain et al. 2006, doi:10.1145/1141885.1141886.

    By substitution against the identity: for matrices of 16 to 128 rows on a CPU this is faster than doubling of block
    inverses, and faster than substitution against the many right-hand sides that X is for. Its error is that of
    substitution; powers of L, which overflow, are never formed.
    """
    return _UnitLowerInverse.apply(lower)


class _UnitLowerInverse(torch.autograd.Function):
    """dL = -X^T dX X^T strictly below the diagonal."""

    @staticmethod
    def forward(ctx: Any, lower: Tensor) -> Tensor:
        eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device).expand_as(lower)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False, unitriangular=True)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, d_inverse: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        with full_precision(inverse.device):
            return -(inverse.mT @ d_inverse @ inverse.mT).tril(-1)
