"""What a layer adds to the stream, without the stream. Charpentier & Samuel 2023, arXiv:2311.02265."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layer, Layout, Memory, Norm, Spec, State, Streaming, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block, streaming


class Increment(Layer, Streaming):
    """y = norm(layer(x) - x): of a residual block mixer(x) + channels(x + mixer(x)) is left.

    Charpentier & Samuel 2023, arXiv:2311.02265, whose layers are joined by a choice among all earlier outputs instead.
    """

    examples = (
        {"layer": Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec()), "norm": LayerNorm.spec()},
        {"layer": Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())},
    )

    def __init__(self, dim: int, *, layer: Spec[Layer], norm: Spec[Norm] = NoNorm.spec()) -> None:
        super().__init__()
        self.layer = layer.build(dim=dim)
        self.norm = norm.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the layer."""
        return self.layer.traits

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self.tap("residual", self.norm(self.layer(x, layout, memory) - x))

    def start(self, batch: int) -> State:
        return streaming(self.layer).start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        y, state = streaming(self.layer).advance(x, state, layout, memory)
        return self.tap("residual", self.norm(y - x)), state
