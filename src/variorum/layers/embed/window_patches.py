"""Tokens of a window of series: one for every ``patch`` steps. Nie et al. 2022, arXiv:2211.14730."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits, VariorumError
from variorum.layers.positions.sinusoid import Sinusoid


class WindowPatches(Embed):
    """x_i = W [all values and calendar of the i-th ``patch`` steps] + b + position_i.

    Patches end with the row; the first is filled up at its start with zeros. The known steps and those to forecast,
    whose values are blank, are patches alike, as masked patches are in Nie et al. 2022, arXiv:2211.14730, section 3.2.
    (batch, n, variables + calendar) -> (batch, ceil(n / patch), dim).
    """

    reads = "series"
    traits: Traits = Traits(ragged=False)
    examples = ({"patch": 4},)

    def __init__(
        self, dim: int, variables: int, calendar: int, *, patch: int = 8, position: Spec[Position] = Sinusoid.spec()
    ) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(patch * (variables + calendar), dim)
        self.position = position.build(dim=dim)

    def forward(
        self, inputs: Float[Tensor, "batch n features"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch patches dim"], Layout | None]:
        if layout is not None and layout.packed:
            raise VariorumError("WindowPatches", expected="equal rows", found="packed rows",
                                do="Pass rows of one length.")  # fmt: skip
        x = F.pad(inputs, (0, 0, -inputs.shape[1] % self.patch, 0))
        x = x.unflatten(1, (-1, self.patch)).flatten(2)
        return self.position(self.project(x), None), None
