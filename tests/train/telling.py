"""Parts that other processes can import; tests import this module where its classes are forgotten afterwards."""

import torch
from torch import nn

from variorum.core import Channel


class TellsMean(Channel):
    """y = W x, telling 0.1 * mean over tokens of |y|^2."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        self.tap("auxiliary", 0.1 * y.square().sum(-1).mean())
        return y


class UsedByChance(Channel):
    """y = x + W_k x, where k, of 3, is told by the number of tokens in training; W_3 is never used."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.linears[len(x) % 3](x)
