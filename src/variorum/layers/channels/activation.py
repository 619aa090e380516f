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


_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.GELU: F.gelu,
    Activation.GELU_TANH: partial(F.gelu, approximate="tanh"),
    Activation.RELU: F.relu,
    Activation.SILU: F.silu,
    Activation.TANH: torch.tanh,
}
