"""Look-ahead by chunks, which does not add up from layer to layer. Noroozi et al. 2023, arXiv:2312.17279."""

from torch import Tensor

from variorum.core import Pattern, VariorumError


class Chunked(Pattern):
    """All keys of the query's own chunk of right + 1 positions, and the ``left`` keys before that chunk.

    A query sees from 0 to ``right`` keys ahead, by its place in the chunk, and no layer sees beyond the chunk's end,
    however many there are. Noroozi et al. 2023, arXiv:2312.17279, section 3.1 (chunk-aware look-ahead).
    """

    examples = ({"left": 4, "right": 1}, {"left": 3, "right": 2}, {"left": 4, "right": 0})

    def __init__(self, *, left: int, right: int) -> None:
        if left < 0 or right < 0:
            raise VariorumError("Chunked", expected="left and right not below 0", found=f"left {left}, right {right}",
                                do="Choose others.")  # fmt: skip
        self.left, self.right = left, right
        self.causal = right == 0
        self.piece, self.reach = right + 1, left + right + 1

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        size = self.right + 1
        first = (queries.div(size, rounding_mode="floor") * size).unsqueeze(-1)
        keys = keys.unsqueeze(-2)
        return (keys >= first - self.left) & (keys < first + size)
