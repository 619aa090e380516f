"""Scores of the vocabulary for each token."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE


class Unembed(Head):
    """logits_t = W x_t (+ b): (*tokens, dim) -> (*tokens, vocab).

    Phuong & Hutter 2022, arXiv:2207.09238, algorithm 7.
    """

    writes = "tokens"
    traits: Traits = POINTWISE

    def __init__(self, dim: int, vocab: int, *, bias: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, vocab, bias=bias)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens vocab"]:
        return self.linear(x)
