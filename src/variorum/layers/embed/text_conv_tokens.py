"""Tokens of a text by convolution and pooling over its words. Hassani et al. 2021, arXiv:2104.05704."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from variorum.core import Embed, Layout, Position, Spec, Traits, reform_rows
from variorum.layers.positions.none import NoPosition


class TextConvTokens(Embed):
    """MaxPool(2, 2, 1)(ReLU(conv(W_e[words]))) along the row, then positions and dropout: half as many tokens as words.

    Hassani et al. 2021, arXiv:2104.05704 (CCT for text): ids (*tokens) -> (*fewer, dim). Words are ``width`` wide; the
    convolution sees ``kernel`` of them and has no bias; beyond the row there is nothing. n words give floor(n / 2) + 1
    tokens, or floor((n + 1) / 2) + 1 if the kernel is even. Given word vectors go into ``part.word.weight``.
    """

    reads = "ids"
    traits: Traits = Traits()
    examples = ({"width": 6}, {"width": 6, "kernel": 1}, {"width": 6, "kernel": 3})

    def __init__(
        self,
        dim: int,
        vocab: int,
        *,
        width: int = 300,
        kernel: int = 2,
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocab, width)
        self.conv = nn.Conv1d(width, dim, kernel, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.position = position.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Int[Tensor, "*tokens"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*fewer dim"], Layout | None]:
        x, layout = reform_rows(self._shorten, layout, self.word(inputs))
        return self.dropout(self.position(x, layout)), layout

    def _shorten(self, rows: Tensor) -> Tensor:
        seen = self.conv(rows.transpose(1, 2)).relu().unsqueeze(2)
        # max_pool1d would fix the length in an export.
        return F.max_pool2d(seen, (1, 2), stride=(1, 2), padding=(0, 1)).squeeze(2).transpose(1, 2)
