"""The forecast that repeats the last season: what every other one must beat. Hyndman & Athanasopoulos 2021."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Skeleton, Traits, VariorumError


class SeasonalNaive(Skeleton):
    """y_(t + h) = y_(t + h - season ceil(h / season)); with a season of 1 the last value.

    inputs (batch, n + horizon, features), the first ``variables`` of the features values -> (batch, horizon,
    variables). Hyndman & Athanasopoulos 2021, "Forecasting: principles and practice", section 5.2.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", None, reads="series")})
    traits: Traits = Traits(ragged=False)
    examples = ({"season": 2}, {"season": 1})

    def __init__(self, horizon: int, variables: int, season: int) -> None:
        super().__init__()
        self.horizon, self.variables, self.season = horizon, variables, season

    def forward(self, inputs: Float[Tensor, "batch n features"]) -> Float[Tensor, "batch horizon variables"]:
        n = inputs.shape[1] - self.horizon
        if n < self.season:
            raise VariorumError("SeasonalNaive", expected=f"at least {self.season} known steps, a season",
                                found=f"{n}", do="Give earlier steps too.")  # fmt: skip
        last = inputs[:, n - self.season : n, : self.variables]
        return last[:, torch.arange(self.horizon, device=inputs.device) % self.season]
