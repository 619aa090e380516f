"""A layer whose weights are each segment's own. Liang et al. 2024, arXiv:2411.04996."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layer, Layout, Memory, Spec, State, Streaming, Traits, VariorumError
from variorum.layers.by_segment import segments, untie
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.rotary import Rotary
from variorum.models.blocks.block import Block, streaming


class Untied(Layer, Streaming):
    """y = layer(x), every weight of ``layer`` there once for each of ``count`` segments; a token uses its segment's.

    Liang et al. 2024, arXiv:2411.04996 (Mixture-of-Transformers: segments are modalities). What mixes tokens has no
    weights, so all tokens meet in it: attention stays global while its projections, the norms and the channels are
    untied. Arithmetic is that of the layer; parameters are ``count`` times its own.

    Segments come from ``layout.segments``; without them every token is of segment 0. Any layer will do whose parameters
    all belong to channels, norms, projections and linear maps that are applied to tokens as they are given; others
    raise VariorumError. No memory is taken.
    """

    examples = (
        {
            "count": 2,
            "layer": Block.spec(
                mixer=Attention.spec(heads=2, pattern=Causal.spec(), rotation=Rotary.spec(), qk_norm=LayerNorm.spec()),
                channels=MLP.spec(),
            ),
        },
        {"count": 3, "layer": Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())},
    )

    def __init__(self, dim: int, *, layer: Spec[Layer], count: int) -> None:
        super().__init__()
        if count < 1:
            raise VariorumError("Untied count", expected="one segment at least", found=str(count), do="Raise it.")
        self.layer = layer.build(dim=dim)
        self.count = count
        untie(self.layer, count)

    @property
    def traits(self) -> Traits:
        """Those of the layer; its shapes depend on the segments, so it does not export."""
        return self.layer.traits.but(segments=self.count, memory=False, exports=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        with segments(self._segments(x, layout, memory)):
            return self.tap("residual", self.layer(x, layout))

    def start(self, batch: int) -> State:
        return streaming(self.layer).start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        with segments(self._segments(x, layout, memory)):
            y, state = streaming(self.layer).advance(x, state, layout)
            return self.tap("residual", y), state

    def _segments(self, x: Tensor, layout: Layout | None, memory: Memory | None) -> Tensor:
        if memory is not None:
            raise VariorumError("Untied", expected="no memory", found="one", do="Put its tokens into the row.")
        if layout is None or layout.segments is None:
            return torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device)
        told = layout.segments
        if told.numel() and not 0 <= int(told.min()) <= int(told.max()) < self.count:
            raise VariorumError("layout.segments", expected=f"segments from 0 to {self.count - 1}",
                                found=f"{int(told.min())} to {int(told.max())}",
                                do="Untie for as many segments as there are.")  # fmt: skip
        return told
