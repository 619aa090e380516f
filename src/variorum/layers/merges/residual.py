"""A residual block that changes grid and width, as a ResNet's stages start. He et al. 2015, arXiv:1512.03385."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Merge, Residual, Spec, Traits
from variorum.layers.chain import Chain, Link
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.norms.identity import NoNorm
from variorum.layers.residuals.add import Add


class ResidualMerge(Merge):
    """y = residual(s_k(... s_1(x)), p_k(... p_1(x))): ``parts`` and ``shortcut`` change grid and width alike.

    He et al. 2015, arXiv:1512.03385, equation 2. (batch, H*W, source) -> (batch, H'*W', dim).
    """

    examples = ({"parts": [ConvMerge.spec(kernel=3)], "shortcut": [ConvMerge.spec(kernel=1, norm=NoNorm.spec())]},)

    def __init__(
        self,
        source: int,
        dim: int,
        *,
        parts: Sequence[Spec[Link]],
        shortcut: Sequence[Spec[Link]],
        residual: Spec[Residual] = Add.spec(),
    ) -> None:
        super().__init__()
        self.parts = Chain(parts, source=source, dim=dim)
        self.shortcut = Chain(shortcut, source=source, dim=dim)
        self.residual = residual.build(dim=dim, norm=NoNorm.spec())

    @property
    def traits(self) -> Traits:
        """Those of the branch, the shortcut and the residual together; a merge does not stream."""
        return self.parts.traits.along(self.shortcut.traits).along(self.residual.traits).but(streams=False)

    def forward(
        self, x: Float[Tensor, "*tokens source"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*fewer dim"], Layout | None]:
        y, after = self.parts(x, layout)
        stream, _ = self.shortcut(x, layout)
        return self.residual(stream, lambda _: y, after), after
