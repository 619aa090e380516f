"""One layer applied several times: depth without parameters. Dehghani et al. 2018, arXiv:1807.03819."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layer, Layout, Memory, Spec, State, Streaming, Traits, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block, streaming


class Repeated(Layer, Streaming):
    """x <- layer_k(... layer_1(x)), ``times`` times with the same weights.

    Dehghani et al. 2018, arXiv:1807.03819; Lan et al. 2019, arXiv:1909.11942. Each pass is heard at the layers' points.
    """

    examples = (
        {"layers": [Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())], "times": 2},
        {"layers": [Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())], "times": 2},
    )

    def __init__(self, dim: int, *, layers: Sequence[Spec[Layer]], times: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer.build(dim=dim) for layer in layers)
        self.times = times

    @property
    def traits(self) -> Traits:
        """Those of the layers one after the other."""
        return promises(self.layers)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        for _ in range(self.times):
            for layer in self.layers:
                x = layer(x, layout, memory)
        return self.tap("residual", x)

    def start(self, batch: int) -> State:
        passes = range(self.times)
        return State({f"{t}.{k}": streaming(layer).start(batch) for t in passes for k, layer in enumerate(self.layers)})

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        after: dict[str, Any] = {}
        for t in range(self.times):
            for k, layer in enumerate(self.layers):
                x, after[f"{t}.{k}"] = streaming(layer).advance(x, state.child(f"{t}.{k}"), layout, memory)
        return self.tap("residual", x), State(after)
