"""Blocks of a fixed size, each with the one before it. Zhang et al. 2023, arXiv:2310.12442."""

from torch import Tensor

from variorum.core import Pattern


class Blocks(Pattern):
    """Keys j <= i in the block of query i or in the block before it; a block is ``size`` tokens.

    Zhang et al. 2023, arXiv:2310.12442.
    """

    causal = True
    examples = ({"size": 2},)

    def __init__(self, *, size: int) -> None:
        self.size, self.reach = size, 2 * size

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        i, j = queries.unsqueeze(-1), keys.unsqueeze(-2)
        return (j <= i) & (i.div(self.size, rounding_mode="floor") - j.div(self.size, rounding_mode="floor") <= 1)
