"""Tokens of a whole time series by convolution and pooling along it. Hassani et al. 2021, arXiv:2104.05704."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from variorum.core import Embed, Layout, Position, Spec, Traits, reform_rows
from variorum.layers.positions.none import NoPosition


class SeriesConvTokens(Embed):
    """MaxPool(2, 2, 1)(ReLU(conv(v))) along the row, then positions: (*steps, channels) -> (*fewer, dim).

    The tokenizer of Hassani et al. 2021, arXiv:2104.05704, along time. The convolution has no bias, 2 s + 1 steps and
    the stride s = ceil(steps / (2 most)), so that a row of ``steps`` steps, which the data tell, makes about ``most``
    tokens; rows may be longer or shorter. n steps give floor(ceil(n / s) / 2) + 1 tokens.
    """

    reads = "labelled series"
    traits: Traits = Traits()
    examples = ({"steps": 12, "most": 2}, {"steps": 6, "most": 4})

    def __init__(
        self, dim: int, channels: int, steps: int, *, most: int = 64, position: Spec[Position] = NoPosition.spec()
    ) -> None:
        super().__init__()
        stride = -(-steps // (2 * most))
        self.conv = nn.Conv1d(channels, dim, 2 * stride + 1, stride=stride, padding=stride, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.position = position.build(dim=dim)

    def forward(
        self, inputs: Float[Tensor, "*steps channels"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*fewer dim"], Layout | None]:
        x, layout = reform_rows(self._shorten, layout, inputs)
        return self.position(x, layout), layout

    def _shorten(self, rows: Tensor) -> Tensor:
        seen = self.conv(rows.transpose(1, 2)).relu().unsqueeze(2)
        # max_pool1d would fix the length in an export.
        return F.max_pool2d(seen, (1, 2), stride=(1, 2), padding=(0, 1)).squeeze(2).transpose(1, 2)
