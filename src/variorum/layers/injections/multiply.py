"""The input multiplies what goes into every pass. Yang et al. 2023, arXiv:2311.12424."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Injection, Traits
from variorum.core.traits import POINTWISE


class MultiplyInput(Injection):
    """y * x from 1: the input gates every pass, channel by channel.

    Yang et al. 2023, arXiv:2311.12424 (official code).
    """

    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def start(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return torch.ones_like(x)

    def forward(self, y: Float[Tensor, "*any dim"], x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return y * x
