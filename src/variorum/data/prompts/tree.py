"""Prompts of decision trees. Garg et al. 2022, arXiv:2208.01066."""

import torch
from torch import Generator, Tensor

from variorum.data.prompts.prompt import InContextRegression


class TreePrompts(InContextRegression):
    """f(x) = the leaf that x falls to: at each of ``depth`` nodes by the sign of one coordinate, drawn for the node.

    Garg et al. 2022, arXiv:2208.01066. Leaves are drawn from N(0, 1).
    """

    def __init__(self, *, dims: int = 20, points: int = 101, depth: int = 4, grows: int = 0, rows: int = 512) -> None:
        self.dims, self.points, self.grows, self.rows = dims, points, grows, rows
        self.depth = depth

    def values(self, x: Tensor, generator: Generator) -> Tensor:
        size, points, _ = x.shape
        asked = torch.randint(self.dims, (size, 2**self.depth - 1), generator=generator)
        leaves = torch.randn(size, 2**self.depth, generator=generator)
        node = torch.zeros(size, points, dtype=torch.int64)  # of a heap: the children of i are 2 i + 1 and 2 i + 2
        for _ in range(self.depth):
            seen = x.gather(2, asked.gather(1, node).unsqueeze(-1)).squeeze(-1)
            node = 2 * node + 1 + (seen > 0).long()
        return leaves.gather(1, node - (2**self.depth - 1))
