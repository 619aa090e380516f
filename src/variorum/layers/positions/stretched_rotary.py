"""Rotary positions for rows longer than those of the training: a greater base. Peng et al. 2023, arXiv:2309.00071."""

import math
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.positions.turning import Turning, geometric


class Stretch(StrEnum):
    """How the base follows the length: in proportion, or in steps at every doubling."""

    LINEAR = "linear"
    DOUBLING = "doubling"


class StretchedRotary(Turning):
    """Rotary with the base times alpha^(d / (d - 2)), d the channels of a head: NTK scaling, so that the slowest
    channel pair turns as far over ``length`` as it did over ``trained``, and the fastest as before.

    bloc97 2023; Peng et al. 2023, arXiv:2309.00071, section 3.3. alpha is 1 up to ``trained`` positions; above, with
    r = length / trained, LINEAR: factor * r - (factor - 1); DOUBLING: 2^ceil(log2(r) + 1) - 1 (Bai et al. 2023,
    arXiv:2309.16609), which stays as it is until r passes a power of two.

    length: of the longest rows that the model is used for, ``trained`` unless given; it holds no parameters, so that a
    trained model's weights go into one that is built for another. Released codes take the longest row of each call
    instead, so that the base changes while a row is written and cached keys keep the old one: here the whole row and
    the row piece by piece give the same.    magnitude: queries and keys times 1 + magnitude * ln(r) (0.1 in released
    codes), which sharpens the weights of longer rows.
    """

    examples = ({"trained": 4}, {"trained": 4, "length": 64, "stretch": Stretch.DOUBLING, "magnitude": 0.1})

    def __init__(
        self,
        *,
        trained: int,
        length: int | None = None,
        base: float = 10000.0,
        stretch: Stretch = Stretch.LINEAR,
        factor: float = 1.0,
        magnitude: float = 0.0,
    ) -> None:
        super().__init__()
        length = trained if length is None else length
        if min(trained, length) < 1 or factor < 1 or magnitude < 0:
            raise VariorumError("StretchedRotary", expected="lengths and a factor of at least 1, a magnitude from 0 on",
                                found=f"trained {trained}, length {length}, factor {factor}, magnitude {magnitude}",
                                do="Choose others.")  # fmt: skip
        self.base = base
        doubles = Stretch(stretch) is Stretch.DOUBLING
        self.alpha = doubling(length, trained) if doubles else linear(length, trained, factor)
        self.size = 1 + magnitude * math.log(max(length / trained, 1))

    def frequencies(self, head_dim: int, device: torch.device) -> Float[Tensor, "half"]:
        """(base * alpha^(d / (d - 2)))^(-2i/d)."""
        base = self.base * self.alpha ** (head_dim / (head_dim - 2)) if head_dim > 2 else self.base
        return geometric(base, head_dim // 2, device)


def linear(length: int, trained: int, factor: float = 1.0) -> float:
    """factor * length / trained - (factor - 1), at least 1."""
    return max(factor * length / trained - (factor - 1), 1.0)


def doubling(length: int, trained: int) -> int:
    """2^ceil(log2(length / trained) + 1) - 1, at least 1: 1, 3, 7, 15, ... exactly, in whole numbers."""
    doublings = 0
    while trained << doublings < length:
        doublings += 1
    return (2 << doublings) - 1
