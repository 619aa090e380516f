"""What a row is conditioned on, read from a memory."""

import torch.nn.functional as F
from torch import Tensor, nn

from variorum.core import Layout, Memory, VariorumError, pool_rows


class Modulation(nn.Linear):
    """W silu(c) + b as ``count`` vectors of width dim for each token of a row; W = b = 0 at first.

    c is the ``condition`` of the row. Perez et al. 2017, arXiv:1709.07871; silu: Peebles & Xie 2022, arXiv:2212.09748.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__(dim, count * dim)
        self.count = count
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def told(self, memory: Memory | None, layout: Layout | None, part: str) -> tuple[Tensor, ...]:
        """``count`` tensors that broadcast with tokens; ``part`` is named where there is no memory."""
        return spread(self(F.silu(condition(memory, part))), layout).chunk(self.count, dim=-1)


def condition(memory: Memory | None, part: str) -> Tensor:
    """(rows, dim): the sum of the memory's tokens of each row; a time and a class, for instance.

    ``part`` is named by the VariorumError that is raised where there is no memory.
    """
    if memory is None:
        raise VariorumError(part, expected="a memory: what the rows are conditioned on", found="none",
                            do="Pass memory=Memory(tokens), or use a skeleton that does.")  # fmt: skip
    return pool_rows(lambda tokens: tokens.sum(dim=1), memory.layout, memory.x)


def spread(rows: Tensor, layout: Layout | None) -> Tensor:
    """(rows, dim) as what broadcasts with tokens: (rows, 1, dim), or (tokens, dim) with a packed layout."""
    return rows[layout.row_of] if layout is not None and layout.packed else rows.unsqueeze(1)
