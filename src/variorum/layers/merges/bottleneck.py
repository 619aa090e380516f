"""The bottleneck: work at another width, then come back. He et al. 2015, arXiv:1512.03385."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Merge, Spec, Traits
from variorum.layers.chain import Chain, Link
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.nonlinearity import Nonlinearity
from variorum.layers.merges.depthwise import DepthwiseMerge
from variorum.layers.mixers.grid_conv import GridConv
from variorum.layers.norms.layernorm import LayerNorm

_ACT = Nonlinearity.spec(activation=Activation.RELU)


class Bottleneck(Merge):
    """y = W_2 p_k(... p_1(W_1 x)), the parts p at width ``ratio`` * dim: (*tokens, source) -> (*tokens, dim).

    ratio below 1: the bottleneck of He et al. 2015, arXiv:1512.03385; above 1: the inverted one of Sandler et al. 2018,
    arXiv:1801.04381. ``bias`` is of W_1 and W_2, the convolutions of 1 x 1. Tokens are merged if a part merges them.
    """

    examples = (
        {"ratio": 0.25, "parts": [LayerNorm.spec(), _ACT, GridConv.spec(), _ACT], "bias": False},
        {"ratio": 2.0, "parts": [DepthwiseMerge.spec(), _ACT]},
    )

    def __init__(self, source: int, dim: int, *, ratio: float, parts: Sequence[Spec[Link]], bias: bool = True) -> None:
        super().__init__()
        hidden = round(ratio * dim)
        self.up = nn.Linear(source, hidden, bias=bias)
        self.parts = Chain(parts, source=hidden, dim=hidden)
        self.down = nn.Linear(hidden, dim, bias=bias)

    @property
    def traits(self) -> Traits:
        """Those of the parts; a merge does not stream."""
        return self.parts.traits.but(streams=False)

    def forward(
        self, x: Float[Tensor, "*tokens source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*fewer dim"], Layout | None]:
        y, layout = self.parts(self.up(x), layout)
        return self.down(y), layout
