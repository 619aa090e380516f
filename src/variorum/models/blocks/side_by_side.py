"""Mixer and channels side by side behind one norm. Wang & Komatsuzaki 2021, GPT-J-6B."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Channel, Layer, Layout, Memory, Mixer, Norm, Residual, Spec, State, Streaming, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.skipless import Skipless
from variorum.models.blocks.block import streaming


class SideBySide(Layer, Streaming):
    """x <- residual(x, mixer(.) + channels(.)); with ``gains`` a and b it is a * mixer(.) + b * channels(.).

    Wang & Komatsuzaki 2021, GPT-J-6B; gains: He & Hofmann 2023, arXiv:2311.01906.    gains: initial values of a and b,
    which are learned.
    """

    examples = (
        {"mixer": Attention.spec(heads=2), "channels": MLP.spec()},
        {
            "mixer": Attention.spec(heads=2, pattern=Causal.spec()),
            "channels": MLP.spec(),
            "residual": Skipless.spec(),
            "gains": (1.0, 0.1),
        },
    )

    def __init__(
        self,
        dim: int,
        *,
        mixer: Spec[Mixer],
        channels: Spec[Channel],
        norm: Spec[Norm] = LayerNorm.spec(),
        residual: Spec[Residual] = PreNorm.spec(),
        gains: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.mixer = mixer.build(dim=dim)
        self.channels = channels.build(dim=dim)
        self.residual = residual.build(dim=dim, norm=norm)
        self.gains = None if gains is None else nn.Parameter(torch.tensor(gains))

    @property
    def traits(self) -> Traits:
        """Those of the mixer and the residual; it attends to no memory."""
        return self.mixer.traits.along(self.residual.traits).but(memory=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        joined = self.residual(x, lambda y: self._sum(self.mixer(y, layout), self.channels(y)), layout)
        return self.tap("residual", joined)

    def start(self, batch: int) -> State:
        return streaming(self.mixer).start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        after = [state]

        def both(y: Tensor) -> Tensor:
            mixed, after[0] = streaming(self.mixer).advance(y, state, layout)
            return self._sum(mixed, self.channels(y))

        return self.tap("residual", self.residual(x, both, layout)), after[0]

    def _sum(self, mixed: Tensor, channels: Tensor) -> Tensor:
        return mixed + channels if self.gains is None else self.gains[0] * mixed + self.gains[1] * channels
