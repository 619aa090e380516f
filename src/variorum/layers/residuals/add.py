"""The plain residual connection. He et al. 2015, arXiv:1512.03385."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Residual, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation


class Add(Residual):
    """y = act(x + f(x)). He et al. 2015, arXiv:1512.03385; without an activation y = x + f(x).

    Norms, where there are any, belong to the branch.
    """

    traits: Traits = POINTWISE
    examples = ({}, {"activation": Activation.RELU})

    def __init__(self, dim: int, *, activation: Activation | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.activation = None if activation is None else activation.function

    def forward(
        self, x: Float[Tensor, "*tokens dim"], branch: Callable[[Tensor], Tensor], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        y = x + branch(x)
        return y if self.activation is None else self.activation(y)
