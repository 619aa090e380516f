"""Tokens of a whole time series: one for each patch of successive steps. Nie et al. 2022, arXiv:2211.14730."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits, reform_rows
from variorum.layers.positions.none import NoPosition


class SeriesPatches(Embed):
    """x_i = position(W [v_{iP}, ..., v_{iP+P-1}] + b): (*steps, channels) -> (*patches, dim), ceil(n / P) of n steps.

    Nie et al. 2022, arXiv:2211.14730, with patches that do not overlap and all channels in one token. The last value is
    carried on where the last patch is longer than the row. P = ceil(steps / most): a row of ``steps`` steps, which
    the data tell, makes at most ``most`` tokens; rows may be longer or shorter.
    """

    reads = "labelled series"
    examples = ({"steps": 12, "most": 4}, {"steps": 12, "most": 12})

    def __init__(
        self, dim: int, channels: int, steps: int, *, most: int = 128, position: Spec[Position] = NoPosition.spec()
    ) -> None:
        super().__init__()
        self.patch = -(-steps // most)
        self.linear = nn.Linear(self.patch * channels, dim)
        self.position = position.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the position, but that a patch looks ahead."""
        return self.position.traits.but(causal=False, streams=False, equivariant=False)

    def forward(
        self, inputs: Float[Tensor, "*steps channels"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*patches dim"], Layout | None]:
        patches, layout = reform_rows(self._cut, layout, inputs)
        return self.position(self.linear(patches), layout), layout

    def _cut(self, rows: Tensor) -> Tensor:
        n = rows.shape[1]
        places = torch.arange((n + self.patch - 1) // self.patch * self.patch, device=rows.device)
        return rows[:, places.clamp(max=n - 1)].unflatten(1, (-1, self.patch)).flatten(2)
