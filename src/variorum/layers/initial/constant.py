"""One number as every initial value."""

from collections.abc import Sequence

from torch import Tensor, nn

from variorum.core import Initialiser


class Constant(Initialiser):
    """w = value: biases that start at 0, gains that start at 1."""

    examples = ({"names": ["*.bias"]},)

    def __init__(self, *, names: Sequence[str], value: float = 0.0) -> None:
        self.names, self.value = names, value

    def draw(self, values: Tensor) -> None:
        nn.init.constant_(values, self.value)
