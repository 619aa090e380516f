"""A fixed table of sines and cosines. Radford et al. 2022, arXiv:2212.04356."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Position, Traits, VariorumError
from variorum.core.layout import positions
from variorum.layers.positions.learned import check_length


class SinusoidTable(Position):
    """y_t = x_t + P[t], P[t] = [sin(t w_0), ..., sin(t w_h), cos(t w_0), ..., cos(t w_h)].

    w_i = base^(-i / h), h = dim / 2 - 1.
    Radford et al. 2022, arXiv:2212.04356 (Whisper's encoder): sines first, frequencies from 1 to exactly 1/base. The
    table is not trained, but saved with the model. length: most positions it has; a longer row raises VariorumError.
    """

    traits: Traits = Traits(causal=True, streams=True)
    examples = ({"length": 64},)

    def __init__(self, dim: int, length: int, *, base: float = 10000.0) -> None:
        super().__init__()
        if dim % 2 or dim < 4:
            raise VariorumError(
                "SinusoidTable dim", expected="an even number, 4 or more", found=str(dim), do="Choose another."
            )
        self.length = length
        frequency = torch.exp(-math.log(base) / (dim // 2 - 1) * torch.arange(dim // 2))
        angle = torch.arange(length)[:, None] * frequency
        self.table: Tensor
        self.register_buffer("table", torch.cat([angle.sin(), angle.cos()], dim=1))

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        where = positions(x, layout)
        if layout is None or not (layout.packed or layout.start is not None):
            check_length(x.shape[1], self.length)
        elif where.numel() and not torch.compiler.is_compiling():
            check_length(int(where.max()) + 1, self.length)
        return x + self.table[where].to(x.dtype)
