"""Xavier's normal initial values. Glorot & Bengio 2010, "Understanding the difficulty of training deep networks"."""

from collections.abc import Sequence

from torch import Tensor, nn

from variorum.core import Initialiser


class XavierNormal(Initialiser):
    """W ~ N(0, gain^2 * 2 / (fan_in + fan_out)) for a linear map (out, in). Glorot & Bengio 2010, AISTATS."""

    examples = ({"names": ["*.weight"]},)

    def __init__(self, *, names: Sequence[str], gain: float = 1.0) -> None:
        self.names, self.gain = names, gain

    def draw(self, values: Tensor) -> None:
        nn.init.xavier_normal_(values, self.gain)
