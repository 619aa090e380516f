"""Scores of the vocabulary by a matrix that is also the embedding. Raffel et al. 2020, arXiv:1910.10683."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE


class ScaledUnembed(Head):
    """logits_t = W x_t / sqrt(dim): (*tokens, dim) -> (*tokens, vocab).

    Raffel et al. 2020, arXiv:1910.10683: T5's W is its embedding, whose entries are of size 1; the scale makes logits
    of size 1 of it.
    """

    writes = "tokens"
    traits: Traits = POINTWISE

    def __init__(self, dim: int, vocab: int) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.linear = nn.Linear(dim, vocab, bias=False)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens vocab"]:
        return self.linear(x * self.scale)
