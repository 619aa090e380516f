"""Pointwise nonlinearities by name."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor


class Activation(StrEnum):
    """A pointwise nonlinearity; ``gelu`` is the exact x * Phi(x), ``gelu_tanh`` its tanh approximation."""

    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    RELU = "relu"
    SILU = "silu"
    TANH = "tanh"

    @property
    def function(self) -> Callable[[Tensor], Tensor]:
        """The function itself."""
        return _FUNCTIONS[self]

    @property
    def consuming(self) -> Callable[[Tensor], Tensor]:
        """The function for a tensor that nobody else holds: in inference mode it is overwritten, sparing a copy."""
        return partial(_consume, self)


_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.GELU: F.gelu,
    Activation.GELU_TANH: partial(F.gelu, approximate="tanh"),
    Activation.RELU: F.relu,
    Activation.SILU: F.silu,
    Activation.TANH: torch.tanh,
}
_IN_PLACE: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.GELU: torch.ops.aten.gelu_,
    Activation.GELU_TANH: partial(torch.ops.aten.gelu_, approximate="tanh"),
    Activation.RELU: torch.relu_,
    Activation.SILU: partial(F.silu, inplace=True),
    Activation.TANH: torch.tanh_,
}


def _consume(which: Activation, x: Tensor) -> Tensor:
    # A compiler finds out by itself what may be overwritten, and cannot ask for the mode.
    overwrite = not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()
    return _IN_PLACE[which](x) if overwrite else _FUNCTIONS[which](x)
