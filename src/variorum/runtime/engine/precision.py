"""How the products of a part are computed, from the most exact to the least."""

from enum import StrEnum

import torch


class Precision(StrEnum):
    """The numbers that a product multiplies; all but ``PLAIN`` have their weights laid out for the processor once.

    PLAIN: the part as it was built.     FLOAT32: its own numbers.     BFLOAT16: both sides rounded to eight bits of
    mantissa, sums in float32.     INT8_GROUPED: weights and tokens with a scale for each 32 of their numbers.     INT8:
    weights with a scale for each output, tokens with one each; both of tokens found as they come.     INT4: weights
    with a scale for each 32 of them, tokens in bfloat16.
    """

    PLAIN = "plain"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8_GROUPED = "int8-grouped"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def rank(self) -> int:
        """0 for the most exact."""
        return list(Precision).index(self)


AUTO = "auto"
"""The fastest that stays within the tolerance, part by part."""

CHOSEN_FROM = (Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8_GROUPED, Precision.INT8)
"""What ``AUTO`` tries; four bits save memory, not time, and are for who asks for them."""

TOLERANCES = {
    Precision.PLAIN: 0.0,
    Precision.FLOAT32: 1e-4,
    Precision.BFLOAT16: 2e-2,
    Precision.INT8_GROUPED: 1e-1,
    Precision.INT8: 1e-1,
    Precision.INT4: 3e-1,
}
"""Largest relative error of a model's answers, ``|y - y0| / |y0|``, where none is stated."""

AUTO_TOLERANCE = 2e-2


def missing(precision: Precision) -> str | None:
    """Why this build of torch or this processor cannot compute in a precision; None if it can."""
    if precision is Precision.PLAIN:
        return None
    if precision is Precision.INT4:
        return None if _has("aten::_weight_int4pack_mm_for_cpu") else "this torch has no products of four-bit weights"
    if not torch.backends.mkldnn.is_available() or not _has("mkldnn::_linear_pointwise"):
        return "this torch was built without oneDNN"
    if precision is Precision.BFLOAT16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor has no instructions for bfloat16 (avx512bw and above)"
    if precision is Precision.INT8 and not _has("onednn::qlinear_pointwise"):
        return "this torch has no products of eight-bit integers"
    return None


def _has(operator: str) -> bool:
    return torch._C._dispatch_has_kernel(operator)
