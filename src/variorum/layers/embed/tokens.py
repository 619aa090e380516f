"""Token embedding. Phuong & Hutter 2022, arXiv:2207.09238, algorithm 1."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits
from variorum.layers.positions.none import NoPosition


class TokenEmbed(Embed):
    """x_t = dropout(W_e[id_t] + position_t): ids (*tokens) -> (*tokens, dim).

    std: of the normal initial values.
    """

    reads = "ids"
    traits: Traits = Traits(causal=True, streams=True)

    def __init__(
        self,
        dim: int,
        vocab: int,
        *,
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token.weight, std=std)
        self.position = position.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Int[Tensor, "*tokens"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        return self.dropout(self.position(self.token(inputs), layout)), layout
