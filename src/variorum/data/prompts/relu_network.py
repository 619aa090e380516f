"""Prompts of small networks. Garg et al. 2022, arXiv:2208.01066."""

import math

import torch
from torch import Generator, Tensor

from variorum.data.prompts.prompt import InContextRegression


class NetworkPrompts(InContextRegression):
    """f(x) = sqrt(2 / hidden) w_2 . relu(W_1 x), weights from N(0, 1). Garg et al. 2022, arXiv:2208.01066."""

    def __init__(
        self, *, dims: int = 20, points: int = 101, hidden: int = 100, grows: int = 0, rows: int = 512
    ) -> None:
        self.dims, self.points, self.grows, self.rows = dims, points, grows, rows
        self.hidden = hidden

    def values(self, x: Tensor, generator: Generator) -> Tensor:
        first = torch.randn(x.shape[0], self.dims, self.hidden, generator=generator)
        second = torch.randn(x.shape[0], self.hidden, 1, generator=generator)
        return (torch.relu(x @ first) @ second).squeeze(-1) * math.sqrt(2 / self.hidden)
