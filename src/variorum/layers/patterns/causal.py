"""No key later than the query."""

from torch import Tensor

from variorum.core import Pattern


class Causal(Pattern):
    """Keys j <= i for query i."""

    causal = True
    dense = True

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        return keys.unsqueeze(-2) <= queries.unsqueeze(-1)
