"""Tokens of several vocabularies in one row, told apart. Chameleon Team 2024, arXiv:2405.09818."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits, VariorumError
from variorum.layers.positions.none import NoPosition


class Vocabularies(Embed):
    """x_t = dropout(W_e[id_t] + position_t), and the segment of t is the vocabulary that id_t belongs to.

    Chameleon Team 2024, arXiv:2405.09818: text, images cut into codes, and speech are ids of one table. ids (*tokens)
    -> (*tokens, dim) with ``layout.segments``.     borders: the first id of each vocabulary but the first, rising.
    std: of the normal initial values.
    """

    reads = "ids"
    traits: Traits = Traits(causal=True, streams=True)
    examples = ({"borders": (4, 9)},)

    def __init__(
        self,
        dim: int,
        vocab: int,
        *,
        borders: Sequence[int],
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        if sorted({0, *borders, vocab}) != [0, *borders, vocab]:
            raise VariorumError("Vocabularies borders", expected=f"rising ids between 0 and {vocab}",
                                found=str(tuple(borders)), do="Give where each vocabulary begins.")  # fmt: skip
        self.token = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token.weight, std=std)
        self.position = position.build(dim=dim)
        self.dropout = nn.Dropout(dropout)
        self.borders: Tensor
        self.register_buffer("borders", torch.tensor(list(borders)), persistent=False)

    def forward(
        self, inputs: Int[Tensor, "*tokens"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout]:
        told = (layout or Layout()).but(segments=torch.bucketize(inputs.contiguous(), self.borders, right=True))
        return self.dropout(self.position(self.token(inputs), told)), told
