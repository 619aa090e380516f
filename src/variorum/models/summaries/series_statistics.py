"""Eight simple statistics of each channel of a series."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Layout, Traits, pool_rows
from variorum.models.summaries.summary import Summary


class SeriesStatistics(Summary):
    """(*steps, channels) -> (rows, 8 channels + 1).

    Of each channel: mean, standard deviation, least, largest, last minus first, mean size of a step, slope of the line
    of least squares over the row (which spans -1/2 to 1/2), and correlation of successive values (0 where a row is
    constant); and the logarithm of the length.
    """

    reads = "labelled series"
    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads=reads)})
    traits: Traits = Traits(bounded=True)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.count = channels, 8 * channels + 1

    def learn(self, rows: Sequence[Tensor], seed: int) -> None:
        """Nothing is learned."""
        return None

    def forward(
        self, inputs: Float[Tensor, "*steps channels"], layout: Layout | None = None
    ) -> Float[Tensor, "rows count"]:
        return pool_rows(_statistics, layout, inputs)


def _statistics(rows: Tensor) -> Tensor:
    """(batch, n, channels) -> (batch, 8 channels + 1)."""
    size = torch.ones_like(rows[:, :, :1]).sum(dim=1)
    gaps = (size - 1).clamp(min=1)
    mean = rows.mean(dim=1, keepdim=True)
    apart = rows - mean
    square = apart.square().sum(dim=1)
    # A sum of no steps is 0, where a mean would be no number.
    steps = (rows[:, 1:] - rows[:, :-1]).abs().sum(dim=1) / gaps
    place = torch.arange(rows.shape[1], device=rows.device, dtype=rows.dtype)
    time = (place - place.mean())[:, None] / gaps[:, None]
    slope = (apart * time).sum(dim=1) / time.square().sum(dim=1).clamp(min=1e-12)
    echo = (apart[:, 1:] * apart[:, :-1]).sum(dim=1) / square.clamp(min=torch.finfo(rows.dtype).tiny)
    found = [mean[:, 0], (square / size).sqrt(), rows.amin(dim=1), rows.amax(dim=1), rows[:, -1] - rows[:, 0], steps,
             slope, echo, size.log()]  # fmt: skip
    return torch.cat(found, dim=1)
