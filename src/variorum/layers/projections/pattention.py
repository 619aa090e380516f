"""Attention from a token to parameter tokens. Wang et al. 2024, arXiv:2410.23168."""

import math
from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Projection, Traits, VariorumError
from variorum.core.traits import POINTWISE

EPSILON = 1e-12
"""Least length that a row of scores is divided by: a token of zeros has scores of zero."""


class Theta(StrEnum):
    """How scores become weights: the row's length is made sqrt(n) before or after GELU, or its sum n after exp."""

    L2_NORM_GELU = "l2_norm_gelu"
    GELU_L2_NORM = "gelu_l2_norm"
    SOFTMAX = "softmax"

    @property
    def keeps_zeros(self) -> bool:
        """Does a score of zero weigh nothing, and leave the weights of the others alone?"""
        return self is not Theta.SOFTMAX


class Pattention(Projection):
    """y = Theta(scale x K^T) V, with K (slots, source) and V (slots, dim) learned parameter tokens.

    Wang et al. 2024, arXiv:2410.23168. By default Theta(s) = gelu(sqrt(n) s / |s|_2), n the number of slots.

    slots: n, as many as the wider of source and dim unless given.    constant: n in Theta unless it is to differ from
    slots, as it does after growth.    scale: of scores, which an L2 norm of them cancels.    key_std, value_std: of the
    normal initial values.
    """

    traits: Traits = POINTWISE
    examples = ({"slots": 6}, {"theta": Theta.GELU_L2_NORM, "constant": 9}, {"theta": Theta.SOFTMAX, "scale": 0.25})

    def __init__(
        self,
        source: int,
        dim: int,
        *,
        slots: int | None = None,
        constant: int | None = None,
        theta: Theta = Theta.L2_NORM_GELU,
        scale: float = 1.0,
        key_std: float = 0.02,
        value_std: float = 0.02,
    ) -> None:
        super().__init__()
        slots = max(source, dim) if slots is None else slots
        self.constant, self.theta, self.scale = slots if constant is None else constant, Theta(theta), scale
        if slots < 1 or self.constant < 1:
            raise VariorumError("Pattention", expected="one slot at least, and a constant not below 1",
                                found=f"slots {slots}, constant {self.constant}", do="Choose others.")  # fmt: skip
        self.keys = nn.Parameter(torch.randn(slots, source) * key_std)
        self.values = nn.Parameter(torch.randn(slots, dim) * value_std)

    def forward(self, x: Float[Tensor, "*any source"]) -> Float[Tensor, "*any dim"]:
        return self.weights(F.linear(x, self.keys) * self.scale) @ self.values

    def weights(self, scores: Float[Tensor, "*any slots"]) -> Float[Tensor, "*any slots"]:
        """Theta of the scores."""
        if self.theta is Theta.SOFTMAX:
            return scores.softmax(dim=-1) * self.constant
        root = math.sqrt(self.constant)
        if self.theta is Theta.GELU_L2_NORM:
            return F.normalize(F.gelu(scores), dim=-1, eps=EPSILON) * root
        return F.gelu(F.normalize(scores, dim=-1, eps=EPSILON) * root)
