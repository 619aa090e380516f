"""Normal initial values without outliers. Devlin et al. 2018, arXiv:1810.04805 (authors' code)."""

from collections.abc import Sequence

from torch import Tensor, nn

from variorum.core import Initialiser


class TruncatedNormal(Initialiser):
    """w ~ N(0, std^2), drawn again where it is beyond 2 std. Authors' code of Devlin et al. 2018, arXiv:1810.04805."""

    examples = ({"names": ["*.weight"]},)

    def __init__(self, *, names: Sequence[str], std: float = 0.02) -> None:
        self.names, self.std = names, std

    def draw(self, values: Tensor) -> None:
        nn.init.trunc_normal_(values, std=self.std, a=-2 * self.std, b=2 * self.std)
