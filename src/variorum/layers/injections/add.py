"""The input is added before every pass. Bai et al. 2019, arXiv:1909.01377."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Injection, Traits
from variorum.core.traits import POINTWISE


class AddInput(Injection):
    """y + x from 0: the input is added before every pass.

    Bai et al. 2019, arXiv:1909.01377 (deep equilibrium models); Yang et al. 2023, arXiv:2311.12424.
    """

    traits: Traits = POINTWISE

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def start(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return torch.zeros_like(x)

    def forward(self, y: Float[Tensor, "*any dim"], x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        return y + x
