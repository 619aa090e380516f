"""A linear map that costs one pass less over its output when it is compiled for inference on a CPU."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Linear):
    """y = W x + b: (*any, in) -> (*any, out), with the parameters and the initial values of ``torch.nn.Linear``.

    torch's compiler makes two passes of a map with a bias: one fills the output with the bias, one adds the product to
    it. A sum after the product joins whatever kernel comes next instead. Where gradients are wanted, or the precision
    is chosen by autocast, torch's own form is used.
    """

    def forward(self, x: Float[Tensor, "*any source"]) -> Float[Tensor, "*any dim"]:
        if self.bias is None or not _fuses():
            return F.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight) + self.bias


def _fuses() -> bool:
    """Is a sum that stands alone free of cost here?"""
    return torch.compiler.is_compiling() and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
