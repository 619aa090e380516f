"""Parts one after the other as one merge. Wang et al. 2021, arXiv:2102.12122."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Merge, Spec, Traits
from variorum.layers.chain import Chain, Link
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.nonlinearity import Nonlinearity
from variorum.layers.merges.adaptive_pool import AdaptivePoolMerge
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm

_CONV = ConvMerge.spec(kernel=3, norm=NoNorm.spec())


class ChainedMerge(Merge):
    """y = p_k(... p_1(x)): (*tokens, source) -> (*fewer, dim).

    With a strided convolution and a norm it is PVT's spatial reduction (Wang et al. 2021, arXiv:2102.12122) and PVT
    v2's patch embedding between stages. The first part that has a ``source`` brings the width to ``dim``.
    """

    examples = (
        {"parts": [_CONV, LayerNorm.spec()]},
        {"parts": [AdaptivePoolMerge.spec(side=2), _CONV, Nonlinearity.spec(activation=Activation.GELU)]},
    )

    def __init__(self, source: int, dim: int, *, parts: Sequence[Spec[Link]]) -> None:
        super().__init__()
        self.parts = Chain(parts, source=source, dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the parts; a merge does not stream."""
        return self.parts.traits.but(streams=False)

    def forward(
        self, x: Float[Tensor, "*tokens source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*fewer dim"], Layout | None]:
        return self.parts(x, layout)
