"""A feed-forward network with a convolution inside. Guo et al. 2021, arXiv:2107.06263; Wang et al. 2021."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Spec, Traits
from variorum.layers.channels.activation import Activation
from variorum.layers.mixers.depthwise_conv import DepthwiseConv


class ConvFFN(Mixer):
    """y = W_2 act(mixer(W_1 x)), the mixer at width ``hidden``.

    Wang et al. 2021, arXiv:2106.13797 (PVT v2): a depthwise convolution of 3 x 3, whose zeros beyond the edge tell
    tokens where they are, so that no position embedding is needed. It stands where a layer has its channels.
    hidden: inner width, 4 * dim unless given.    before: an activation between W_1 and the mixer.
    dropout: on the inner activation and on the output.
    """

    examples = ({}, {"hidden": 24, "before": Activation.RELU})

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        mixer: Spec[Mixer] = DepthwiseConv.spec(kernel=3),
        activation: Activation = Activation.GELU,
        before: Activation | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = hidden or 4 * dim
        self.up = nn.Linear(dim, hidden)
        self.mixer = mixer.build(dim=hidden)
        self.down = nn.Linear(hidden, dim)
        self.activation = activation.function
        self.before = None if before is None else before.function
        self.dropout = nn.Dropout(dropout)

    @property
    def traits(self) -> Traits:
        """Those of the mixer inside; it does not stream."""
        return self.mixer.traits.but(streams=False, memory=False)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        y = self.up(x)
        y = self.mixer(y if self.before is None else self.before(y), layout)
        return self.dropout(self.down(self.dropout(self.activation(y))))
