"""Rotary position embedding. Su et al. 2021, arXiv:2104.09864."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.positions.turning import Turning, geometric


class Rotary(Turning):
    """Turns channel pairs (i, i + d/2) of a head by the angle t * base^(-2i/d). Su et al. 2021, arXiv:2104.09864.

    fraction: of a head's channels, the first ones, that are turned, d in number; the others pass (GPT-NeoX: 1/4).
    """

    examples = ({}, {"fraction": 0.5})

    def __init__(self, *, base: float = 10000.0, fraction: float = 1.0) -> None:
        super().__init__()
        if not 0 < fraction <= 1:
            raise VariorumError("Rotary fraction", expected="a number above 0, at most 1", found=str(fraction),
                                do="Leave it out to turn all channels.")  # fmt: skip
        self.base, self.fraction = base, fraction

    def frequencies(self, head_dim: int, device: torch.device) -> Float[Tensor, "half"]:
        """base^(-2i/d)."""
        return geometric(self.base, int(head_dim * self.fraction) // 2, device)
