"""Attention whose keys and values are fewer tokens than its queries. Wang et al. 2021, arXiv:2102.12122."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Growth, Layout, Memory, Merge, Mixer, Spec, Traits, VariorumError
from variorum.layers.merges.adaptive_pool import AdaptivePoolMerge
from variorum.layers.merges.depthwise import DepthwiseMerge
from variorum.layers.mixers.attention import Attention


class SpatialReductionAttention(Mixer):
    """y = attention(queries of x, keys and values of reduce(x)).

    Wang et al. 2021, arXiv:2102.12122 (PVT): ``reduce`` makes one token of each R x R square by a strided convolution,
    so that scores are n * n / R^2. Wang et al. 2021, arXiv:2106.13797 (PVT v2, linear): it averages the grid down to
    7 x 7, so that they are 49 n. attention: any mixer that attends to a memory.
    """

    examples = (
        {"reduce": DepthwiseMerge.spec(kernel=3), "attention": Attention.spec(heads=2)},
        {"reduce": AdaptivePoolMerge.spec(side=2), "attention": Attention.spec(heads=2)},
    )

    def __init__(self, dim: int, *, reduce: Spec[Merge], attention: Spec[Mixer] = Attention.spec()) -> None:
        super().__init__()
        self.reduce = reduce.build(source=dim, dim=dim)
        self.attention = attention.build(dim=dim)
        if not self.attention.traits.memory:
            raise VariorumError("SpatialReductionAttention", expected="a mixer that attends to a memory",
                                found=str(attention), do="Leave out its pattern, rotation and bias.")  # fmt: skip

    @property
    def traits(self) -> Traits:
        """Those of both parts; its work grows in proportion to the row where the reduced tokens are bounded."""
        both = self.reduce.traits.along(self.attention.traits)
        growth = Growth.LINEAR if self.reduce.traits.bounded else both.growth
        return both.but(causal=False, streams=False, memory=False, equivariant=False, bounded=False, growth=growth)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self.attention(x, layout, Memory(*self.reduce(x, layout)))
