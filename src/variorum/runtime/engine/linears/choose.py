"""The linear map of a precision."""

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.channels.activation import Activation
from variorum.runtime.engine.kernels.product import Numbers
from variorum.runtime.engine.linears.dynamic_int8 import DynamicInt8
from variorum.runtime.engine.linears.fast_linear import FastLinear
from variorum.runtime.engine.linears.grouped_int4 import GroupedInt4, misfit
from variorum.runtime.engine.linears.native import NativeLinear, fits
from variorum.runtime.engine.linears.prepacked import Prepacked
from variorum.runtime.engine.precision import Precision

NUMBERS = {
    Precision.FLOAT32: Numbers.FLOAT32,
    Precision.BFLOAT16: Numbers.BFLOAT16,
    Precision.INT8_GROUPED: Numbers.INT8_GROUPED,
    Precision.INT8: Numbers.INT8,
}
"""What is multiplied in each precision that a kernel of ours has."""


def fast_linear(
    weight: Tensor,
    bias: Tensor | None,
    precision: Precision,
    *,
    after: Activation = Activation.IDENTITY,
    gives: torch.dtype = torch.float32,
) -> FastLinear:
    """after(W x + b) in this precision; one that a matrix has no form in raises VariorumError (see ``unfit``)."""
    if why := unfit(weight, precision):
        raise VariorumError("linear", expected="a precision that the matrix has a form in", found=f"{precision}: {why}",
                            do="Choose another one.")  # fmt: skip
    numbers = NUMBERS.get(precision)
    if numbers is not None and fits(numbers):
        return NativeLinear(weight, bias, numbers=numbers, after=after, gives=gives)
    if precision is Precision.INT8:
        return DynamicInt8(weight, bias, after=after, gives=gives)
    if precision is Precision.INT4:
        return GroupedInt4(weight, bias, after=after, gives=gives)
    dtype = torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32
    return Prepacked(weight, bias, dtype=dtype, after=after, gives=gives)


def unfit(weight: Tensor, precision: Precision) -> str | None:
    """Why a matrix has no form in this precision; None if it has."""
    if weight.dtype != torch.float32:
        return f"its numbers are {str(weight.dtype).removeprefix('torch.')}, not float32"
    if not weight.is_cpu or not weight.numel():
        return f"it lies on {weight.device} with {weight.numel()} numbers"
    if precision is Precision.PLAIN:
        return "as it was built is no form"
    if precision is Precision.INT8_GROUPED and not fits(Numbers.INT8_GROUPED):
        return "only a kernel of ours multiplies in it, which needs llvmlite and sums of products of bytes (VNNI)"
    return misfit(weight) if precision is Precision.INT4 else None


def inner_type(precision: Precision) -> torch.dtype:
    """The type of what only another product reads."""
    return torch.float32 if precision is Precision.FLOAT32 else torch.bfloat16
