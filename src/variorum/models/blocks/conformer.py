"""The Conformer's layer: attention and a convolution between two half feed-forward steps. Gulati et al. 2020."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from variorum.core import Channel, Layer, Layout, Memory, Mixer, Norm, Residual, Spec, State, Streaming, Traits
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.gated_conv import GatedConv, Looks
from variorum.layers.mixers.relative_attention import RelativeAttention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.chunked import Chunked
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import streaming

_FEED = MLP.spec(activation=Activation.SILU)


class ConformerBlock(Layer, Streaming):
    """x <- x + f_1(x) / 2;  x <- x + mixer(x);  x <- x + conv(x);  x <- norm(x + f_2(x) / 2).

    Gulati et al. 2020, arXiv:2005.08100, section 2; the half steps are those of Lu et al. 2019, arXiv:1906.02762.
    ``residual`` says where the norms of the branches stand, and drops out their answers; it streams if both mixers do.
    """

    examples = (
        {"mixer": RelativeAttention.spec(heads=2), "conv": GatedConv.spec(kernel=3, looks=Looks.BOTH)},
        {
            "mixer": RelativeAttention.spec(heads=2, pattern=Chunked.spec(left=4, right=1)),
            "conv": GatedConv.spec(kernel=3),
        },
    )

    def __init__(
        self,
        dim: int,
        *,
        mixer: Spec[Mixer],
        conv: Spec[Mixer] = GatedConv.spec(),
        channels: Spec[Channel] = _FEED,
        norm: Spec[Norm] = LayerNorm.spec(),
        residual: Spec[Residual] = PreNorm.spec(),
    ) -> None:
        super().__init__()
        self.before, self.after = channels.build(dim=dim), channels.build(dim=dim)
        self.mixer, self.conv = mixer.build(dim=dim), conv.build(dim=dim)
        self.before_residual, self.mixer_residual, self.conv_residual, self.after_residual = (
            residual.build(dim=dim, norm=norm) for _ in range(4)
        )
        self.norm = norm.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the mixer and the convolution together."""
        return self.mixer.traits.along(self.conv.traits).but(memory=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self._through(x, layout, lambda y: self.mixer(y, layout), lambda y: self.conv(y, layout))

    def start(self, batch: int) -> State:
        return State(mixer=streaming(self.mixer).start(batch), conv=streaming(self.conv).start(batch))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        after = State()

        def going_on(name: str, part: Mixer) -> Callable[[Tensor], Tensor]:
            def go_on(y: Tensor) -> Tensor:
                out, after[name] = streaming(part).advance(y, state.child(name), layout)
                return out

            return go_on

        out = self._through(x, layout, going_on("mixer", self.mixer), going_on("conv", self.conv))
        return out, after

    def _through(
        self, x: Tensor, layout: Layout | None, mix: Callable[[Tensor], Tensor], convolve: Callable[[Tensor], Tensor]
    ) -> Tensor:
        x = self.before_residual(x, lambda y: self.before(y) / 2, layout)
        x = self.mixer_residual(x, mix, layout)
        x = self.conv_residual(x, convolve, layout)
        x = self.after_residual(x, lambda y: self.after(y) / 2, layout)
        return self.tap("residual", self.norm(x))
