"""A sliding window over the past. Beltagy et al. 2020, arXiv:2004.05150."""

from torch import Tensor

from variorum.core import Pattern


class Window(Pattern):
    """Keys i - size < j <= i for query i. Beltagy et al. 2020, arXiv:2004.05150."""

    causal = True
    examples = ({"size": 3},)

    def __init__(self, *, size: int) -> None:
        self.size = self.reach = size

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        behind = queries.unsqueeze(-1) - keys.unsqueeze(-2)
        return (behind >= 0) & (behind < self.size)
