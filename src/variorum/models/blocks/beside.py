"""A mixer beside a whole layer. He et al. 2020, arXiv:2006.03654."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layer, Layout, Memory, Mixer, Norm, Spec, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.row_conv import RowConv
from variorum.layers.norms.layernorm import LayerNorm
from variorum.models.blocks.block import Block


class Beside(Layer):
    """y = norm(layer(x) + mixer(x)).

    The authors' code of DeBERTa-v2 has a convolution beside the first layer (He et al. 2020, arXiv:2006.03654).
    """

    examples = ({"layer": Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec()), "mixer": RowConv.spec()},)

    def __init__(
        self, dim: int, *, layer: Spec[Layer], mixer: Spec[Mixer], norm: Spec[Norm] = LayerNorm.spec()
    ) -> None:
        super().__init__()
        self.layer = layer.build(dim=dim)
        self.mixer = mixer.build(dim=dim)
        self.norm = norm.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the layer and the mixer together; it does not stream."""
        return self.layer.traits.along(self.mixer.traits).but(streams=False, memory=self.layer.traits.memory)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self.tap("residual", self.norm(self.layer(x, layout, memory) + self.mixer(x, layout)))
