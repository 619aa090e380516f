"""Squared error of numbers against true numbers."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError


class SquaredError(Objective):
    """total = sum over real targets of (output - target)^2; count = number of real targets.

    A target that is not a number (NaN) is none: it adds to neither total nor count, and no gradient comes from it.
    Outputs (*any, 1) are taken for targets (*any). Values of less than single precision are summed in single precision.
    Raises :class:`VariorumError` when the shapes do not fit: nothing is broadcast.
    """

    def forward(self, outputs: Float[Tensor, "*any"], targets: Float[Tensor, "*any"]) -> Loss:
        if outputs.shape == (*targets.shape, 1):
            outputs = outputs.squeeze(-1)
        if outputs.shape != targets.shape:
            raise VariorumError("SquaredError", expected=f"targets of shape {tuple(outputs.shape)}, like the outputs",
                                found=f"{tuple(targets.shape)}", do="Give one number for each output.")  # fmt: skip
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        real = ~targets.isnan()
        # The difference is masked, not the square: the gradient of a masked NaN would be NaN.
        error = torch.where(real, outputs - targets.nan_to_num(), 0.0)
        return Loss(error.square().sum(), real.sum())
