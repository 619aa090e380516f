"""Scores of the vocabulary with a fixed offset. Lewis et al. 2019, arXiv:1910.13461."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE


class OffsetUnembed(Head):
    """logits_t = W x_t + c: (*tokens, dim) -> (*tokens, vocab), c not trained: zero, or what a checkpoint says.

    Lewis et al. 2019, arXiv:1910.13461 (BART, whose checkpoints carry such a c).
    """

    writes = "tokens"
    traits: Traits = POINTWISE

    def __init__(self, dim: int, vocab: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, vocab, bias=False)
        self.register_buffer("offset", torch.zeros(vocab))

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens vocab"]:
        return self.linear(x) + self.offset
