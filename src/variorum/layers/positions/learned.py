"""A learned vector for each position."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Position, Traits, VariorumError
from variorum.core.layout import positions


class LearnedPosition(Position):
    """y_t = x_t + W_p[t + offset]. Phuong & Hutter 2022, arXiv:2207.09238, algorithm 2.

    length: most positions it knows, told by the embed or the task unless given; a longer row raises VariorumError.
    std: of the normal initial values.
    offset: slots left unused at the front (RoBERTa and OPT have 2).
    """

    traits: Traits = Traits(causal=True, streams=True)
    examples = ({"length": 64},)

    def __init__(self, dim: int, length: int, *, std: float = 0.02, offset: int = 0) -> None:
        super().__init__()
        self.length, self.offset = length, offset
        self.weight = nn.Parameter(torch.empty(length + offset, dim))
        nn.init.normal_(self.weight, std=std)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        if layout is None or not (layout.packed or layout.start is not None):
            check_length(x.shape[1], self.length)
            return x + self.weight[self.offset : self.offset + x.shape[1]]
        where = positions(x, layout)
        if where.numel() and not torch.compiler.is_compiling():
            check_length(int(where.max()) + 1, self.length)
        return x + self.weight[where + self.offset]


def check_length(n: int, length: int) -> None:
    """Raise VariorumError if a row of n tokens is longer than the positions known."""
    if isinstance(n, int) and n > length:
        raise VariorumError("input", expected=f"rows of at most {length} tokens, the positions the model knows",
                            found=f"a row of {n}",
                            do="Shorten the input or build the model with a greater length.")  # fmt: skip
