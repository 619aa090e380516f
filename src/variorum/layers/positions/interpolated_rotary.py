"""Rotary positions squeezed into the range of the training. Chen et al. 2023, arXiv:2306.15595."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.positions.turning import Turning, geometric


class InterpolatedRotary(Turning):
    """Rotary with position t taken as t / factor: all angles are ``factor`` times smaller.

    Position interpolation, Chen et al. 2023, arXiv:2306.15595: rows ``factor`` times longer than those of the training
    have no angle that the training did not have.
    """

    examples = ({"factor": 4.0},)

    def __init__(self, *, factor: float, base: float = 10000.0) -> None:
        super().__init__()
        if not factor > 0:
            raise VariorumError("InterpolatedRotary factor", expected="a number above 0", found=str(factor),
                                do="Use Rotary for 1.")  # fmt: skip
        self.factor, self.base = factor, base

    def frequencies(self, head_dim: int, device: torch.device) -> Float[Tensor, "half"]:
        """base^(-2i/d) / factor."""
        return geometric(self.base, head_dim // 2, device) / self.factor
