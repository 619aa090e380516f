"""What a sound is like on average: mean and deviation of its log-mel frames. Davis & Mermelstein 1980."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Layout, Traits, VariorumError, pool_rows
from variorum.layers.embed.spectrogram import Frames, log_mel
from variorum.models.summaries.summary import Summary


class SoundStatistics(Summary):
    """(*samples, 1) -> (rows, 2 bands): mean and standard deviation of each band of mel over the frames of a row.

    rate: samples a second.     window, hop: of frames, in seconds; a row shorter than a hop raises VariorumError.
    """

    reads = "audio"
    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads=reads)})
    traits: Traits = Traits(bounded=True)
    examples = ({"rate": 1000, "bands": 8},)

    def __init__(self, rate: int, *, bands: int = 64, window: float = 0.05, hop: float = 0.025) -> None:
        super().__init__()
        self.shape = Frames(rate=rate, window=window, hop=hop, bins=bands)
        self.count = 2 * bands

    def learn(self, rows: Sequence[Tensor], seed: int) -> None:
        """Nothing is learned."""
        return None

    def forward(self, inputs: Float[Tensor, "*samples 1"], layout: Layout | None = None) -> Float[Tensor, "rows count"]:
        return pool_rows(self._statistics, layout, inputs)

    def _statistics(self, rows: Tensor) -> Tensor:
        """(batch, n, 1) -> (batch, count)."""
        if rows.shape[1] < self.shape.stride:
            raise VariorumError("SoundStatistics", expected=f"sounds of a hop, {self.shape.stride} samples, or more",
                                found=f"{rows.shape[1]}", do="Leave such rows out.")  # fmt: skip
        frames = log_mel(rows[..., 0], self.shape)
        mean = frames.mean(dim=1)
        # A band that never moves has no gradient at a root of 0.
        deviation = (frames - mean[:, None]).square().mean(dim=1).clamp(min=1e-12).sqrt()
        return torch.cat([mean, deviation], dim=1)
