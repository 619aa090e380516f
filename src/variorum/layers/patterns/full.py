"""Every key for every query."""

from torch import Tensor

from variorum.core import Pattern


class Full(Pattern):
    """All keys."""

    dense = True

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        return None
