"""A learned choice among the outputs of all earlier layers. Charpentier & Samuel 2023, arXiv:2311.02265."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import DepthMix, Traits
from variorum.core.traits import POINTWISE


class SoftmaxChoice(DepthMix):
    """y = sum_i softmax(weight)_i h_i over the ``count`` outputs so far, h_0 that of the embedding.

    Charpentier & Samuel 2023, arXiv:2311.02265. last: initial weight of the newest output; the others begin at 0.
    """

    traits: Traits = POINTWISE
    examples = ({"count": 3},)

    def __init__(self, count: int, *, last: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count))
        nn.init.constant_(self.weight.data[-1:], last)

    def forward(self, outputs: Sequence[Float[Tensor, "*tokens dim"]]) -> Float[Tensor, "*tokens dim"]:
        shares = self.weight.softmax(dim=0)
        mixed = shares[0] * outputs[0]
        for share, output in zip(shares[1:], outputs[1:], strict=True):
            mixed = mixed + share * output
        return mixed
