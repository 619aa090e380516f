"""Absolute error of forecasts, each in units of its own series. Hyndman & Koehler 2006."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError


class ScaledAbsoluteError(Objective):
    """total = sum of w |output - value|; count = number of weights above 0.

    targets: values and weights w, both shaped like the outputs. A weight is 0 where there is no value to compare with,
    else the reciprocal of the error that a naive forecast makes on the training part of the same series: the mean is
    then the mean absolute scaled error (MASE). Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".
    Raises :class:`VariorumError` when the shapes do not fit: nothing is broadcast.
    """

    def forward(self, outputs: Float[Tensor, "*any"], targets: tuple[Tensor, Tensor]) -> Loss:
        values, weights = targets
        if not outputs.shape == values.shape == weights.shape:
            raise VariorumError("ScaledAbsoluteError", expected="outputs, values and weights of one shape",
                                found=f"{tuple(outputs.shape)}, {tuple(values.shape)} and {tuple(weights.shape)}",
                                do="Give one value and one weight for each output.")  # fmt: skip
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        return Loss((weights * (outputs - values).abs()).sum(), (weights > 0).sum())
