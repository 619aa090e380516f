"""An activation that stands alone, where a block has one between two other parts."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Channel, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation


class Nonlinearity(Channel):
    """y = act(x), number by number."""

    traits: Traits = POINTWISE

    def __init__(self, dim: int, *, activation: Activation = Activation.GELU) -> None:
        super().__init__()
        self.dim = dim
        self.activation = activation.function

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return self.activation(x)
