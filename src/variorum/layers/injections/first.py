"""The input is shown before the first pass only. Dehghani et al. 2018, arXiv:1807.03819."""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Injection, Traits
from variorum.core.traits import POINTWISE


class FirstInput(Injection):
    """y, with y_0 = x: the input is shown once, and never again.

    Dehghani et al. 2018, arXiv:1807.03819; Lan et al. 2019, arXiv:1909.11942: plain sharing of layers.
    """

    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def start(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return x

    def forward(self, y: Float[Tensor, "*any dim"], x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return y
