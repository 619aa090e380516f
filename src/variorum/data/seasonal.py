"""A generated time series of two seasons and a trend, for long-horizon forecasting."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.task import Batch, Split, Task
from variorum.objectives.squared_error import SquaredError

DAY, WEEK = 24, 168


class SeasonalSeries(Task):
    """y_t = a sin(2 pi t / 24 + p) + b sin(2 pi t / 168 + q) + c t + noise for each variable: hourly, made, not found.

    The first 70 percent of the hours train, the next 10 are valid, the last 20 test; values are scaled by the training
    hours' mean and deviation. inputs: (batch, context + horizon, variables + 2), the last two the hour of the day and
    the day of the week in -0.5 ... 0.5; the values of the horizon are zero. targets: (batch, horizon, variables).
    """

    reads = "series"
    synthetic = True
    metric = "mean squared error"
    higher_is_better = False

    def __init__(
        self,
        *,
        hours: int = 8760,
        context: int = 336,
        horizon: int = 168,
        variables: int = 2,
        noise: float = 0.3,
        seed: int = 0,
    ) -> None:
        if min(hours // 10, hours // 5) <= context + horizon:
            raise VariorumError("SeasonalSeries hours", expected=f"more than {10 * (context + horizon)}",
                                found=str(hours),
                                do="Make the series longer or the windows shorter.")  # fmt: skip
        self.context, self.horizon, self.variables = context, horizon, variables
        generator = torch.Generator().manual_seed(seed)
        t = torch.arange(hours, dtype=torch.float32)
        amplitude, phase = (
            torch.rand(2, variables, generator=generator) + 0.5,
            torch.rand(2, variables, generator=generator),
        )
        slope = (torch.rand(variables, generator=generator) - 0.5) * 2 / hours
        angle = t[:, None, None] * torch.tensor([2 * math.pi / DAY, 2 * math.pi / WEEK])[:, None] + 2 * math.pi * phase
        values = (amplitude * angle.sin()).sum(dim=1) + slope * t[:, None]
        values = values + noise * torch.randn(hours, variables, generator=generator)
        known = values[: hours * 7 // 10]
        self.values = (values - known.mean(dim=0)) / known.std(dim=0)
        self.calendar = torch.stack([t % DAY / (DAY - 1), t // DAY % 7 / 6], dim=1) - 0.5
        self.parts = {
            "train": (0, hours * 7 // 10),
            "valid": (hours * 7 // 10, hours * 8 // 10),
            "test": (hours * 8 // 10, hours),
        }

    @property
    def facts(self) -> dict[str, Any]:
        return {"variables": self.variables, "calendar": 2, "horizon": self.horizon}

    @property
    def objective(self) -> Spec[Objective]:
        return SquaredError.spec()

    def batch(self, step: int, size: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        return self._windows(torch.randint(*self._starts("train"), (size,), generator=generator))

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        return (self._windows(starts) for starts in torch.arange(*self._starts(split)).split(size))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return (outputs - targets).square().mean(dim=(1, 2))

    def _starts(self, part: str) -> tuple[int, int]:
        first, last = self.parts[part]
        return first, last - self.context - self.horizon + 1

    def _windows(self, starts: Tensor) -> Batch:
        hours = starts[:, None] + torch.arange(self.context + self.horizon)
        values = self.values[hours]
        blank = torch.cat([values[:, : self.context], torch.zeros_like(values[:, self.context :])], dim=1)
        return Batch({"inputs": torch.cat([blank, self.calendar[hours]], dim=-1)}, values[:, self.context :])
