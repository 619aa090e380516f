"""Exponential smoothing: level, trend and season, each followed at its own pace. Hyndman et al. 2008."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Skeleton, Traits, VariorumError
from variorum.layers.series_code import number

CYCLES = 5
"""Seasons at the beginning that the first state is made of, at most."""
BEGINNING = 10
"""Steps at the beginning, without their season, that the first level and trend are made of."""
TINY = 1e-9


class Season(IntEnum):
    """How the season of a variable joins its level."""

    NONE = 0
    ADDED = 1
    MULTIPLIED = 2


class Follow(NamedTuple):
    """How one variable of one series is followed: the parameters of the recursion, tensors of one shape."""

    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    phi: Tensor
    trended: Tensor
    season: Tensor


class ExponentialSmoothing(Skeleton):
    """ETS: the context is gone through from a state made of its beginning, then the state goes on without errors.

    With the error e_t = y_t - mu_t of the forecast mu_t = (l + phi b) + s or (l + phi b) s of one step:
        l' = l + phi b + alpha e (/ s),   b' = phi b + beta e (/ s),
        s' = s + gamma e   or   s + gamma / (1 - alpha) (y_t / l' - s),
    where the divisor and the second s' belong to a season that is multiplied; both s' are s + gamma / (1 - alpha) (what
    y_t leaves of l', less s). Hyndman et al. divide by l + phi b instead of l'; statsmodels, whose parameters are run
    here, by l'. y_(t + h) = l + (phi + ... + phi^h) b joined with the season. A model of multiplicative errors has the
    same recursion. Each variable of each series has its own parameters
    and form; which series a row is of is told by its features (see :mod:`variorum.layers.series_code`).

    The first state: the season is the mean, for each of its steps, of what a centred moving average of a season's
    length leaves of at most five seasons, made to sum to 0 or to have a mean of 1; level and trend are the line through
    the first ten steps without their season, or their mean where there is no trend.

    inputs (batch, n + horizon, variables + calendar), values standardised -> (batch, horizon, variables). The recursion
    runs in float64 on ``shift + x``, the values before their mean was taken away, in deviations: a multiplied season
    asks where 0 is.
    Hyndman, Koehler, Ord & Snyder 2008, "Forecasting with exponential smoothing", table 2.1 and section 2.6.1.

    season: steps of a season; 1: none.     series: how many there are.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", None, reads="series")})
    traits: Traits = Traits(ragged=False)
    examples = ({"season": 2, "series": 3}, {"season": 1, "series": 1})

    shift: Tensor

    def __init__(self, horizon: int, variables: int, season: int, series: int) -> None:
        super().__init__()
        self.horizon, self.variables, self.season, self.series = horizon, variables, season, series
        shape = (series, variables)
        for name, value in (("alpha", 0.5), ("beta", 0.0), ("gamma", 0.0), ("phi", 1.0), ("shift", 0.0)):
            self.register_buffer(name, torch.full(shape, value, dtype=torch.float64))
        self.register_buffer("trended", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("joined", torch.zeros(shape, dtype=torch.int8))

    def forward(self, inputs: Float[Tensor, "batch n features"]) -> Float[Tensor, "batch horizon variables"]:
        which = number(inputs[:, 0, self.variables :], self.series)
        follow = Follow(
            *(self.get_buffer(name)[which] for name in ("alpha", "beta", "gamma", "phi", "trended", "joined"))
        )
        shift = self.shift[which][:, None]
        known = inputs[:, : inputs.shape[1] - self.horizon, : self.variables].double() + shift
        return (smooth(known, follow, season=self.season, horizon=self.horizon) - shift).to(inputs.dtype)


def smooth(
    y: Float[Tensor, "batch n variables"], follow: Follow, *, season: int, horizon: int
) -> Float[Tensor, "batch horizon variables"]:
    """Go through ``y`` and forecast ``horizon`` steps; ``follow`` holds tensors (batch, variables)."""
    level, trend, states = first_state(y, follow, season)
    seasons = list(states.unbind(1))
    multiplied = follow.season == int(Season.MULTIPLIED)
    for t in range(y.shape[1]):
        base, s = level + follow.phi * trend, seasons[t % season]
        error = y[:, t] - torch.where(multiplied, base * s, base + s)
        move = torch.where(multiplied, error / _divisor(s), error)
        level, trend = base + follow.alpha * move, follow.phi * trend + follow.beta * move
        left = torch.where(multiplied, (y[:, t] / _divisor(level) - s) / _divisor(1 - follow.alpha), error)
        seasons[t % season] = s + follow.gamma * left
    told = []
    for h in range(horizon):
        trend = follow.phi * trend
        level, s = level + trend, seasons[(y.shape[1] + h) % season]
        told.append(torch.where(multiplied, level * s, level + s))
    return torch.stack(told, dim=1)


def first_state(
    y: Float[Tensor, "batch n variables"], follow: Follow, season: int
) -> tuple[Tensor, Tensor, Float[Tensor, "batch season variables"]]:
    """Level and trend (batch, variables) before the first step, and the season from the first step on."""
    if y.shape[1] < max(2 * season, season + 2):
        raise VariorumError("ExponentialSmoothing", expected=f"at least {max(2 * season, season + 2)} known steps",
                            found=f"{y.shape[1]}", do="Give earlier steps too.")  # fmt: skip
    multiplied, any_season = follow.season == int(Season.MULTIPLIED), follow.season != int(Season.NONE)
    states = multiplied.to(y.dtype)[:, None].expand(-1, season, -1)
    if season > 1:
        found = _first_season(y[:, : CYCLES * season], multiplied, season)
        states = torch.where(any_season[:, None], found, states)
    start = y[:, :BEGINNING]
    pattern = states[:, torch.arange(start.shape[1], device=y.device) % season]
    start = torch.where(multiplied[:, None], start / _divisor(pattern), start - pattern)
    t = torch.arange(1, start.shape[1] + 1, dtype=y.dtype, device=y.device)[:, None]
    middle, mean = t.mean(), start.mean(dim=1)
    slope = ((t - middle) * (start - mean[:, None])).sum(dim=1) / (t - middle).square().sum()
    trend = torch.where(follow.trended, slope, 0.0)
    return mean - trend * middle, trend, states


def _first_season(y: Tensor, multiplied: Tensor, season: int) -> Tensor:
    """The season (batch, season, variables) of the first cycles, ``multiplied`` (batch, variables) or added."""
    weights = torch.full((season + 1 - season % 2,), 1 / season, dtype=y.dtype, device=y.device)
    if season % 2 == 0:  # a mean over an even number of steps is centred by taking half of the outer two
        weights[0] = weights[-1] = 0.5 / season
    middle = (y.unfold(1, len(weights), 1) * weights).sum(dim=-1)
    first = len(weights) // 2
    inner = y[:, first : first + middle.shape[1]]
    left = torch.where(multiplied[:, None], inner / _divisor(middle), inner - middle)
    place = torch.arange(first, first + middle.shape[1], device=y.device) % season
    of = (place == torch.arange(season, device=y.device)[:, None]).to(y.dtype)
    found = torch.einsum("sn,bnv->bsv", of / of.sum(dim=1, keepdim=True), left)
    mean = found.mean(dim=1, keepdim=True)
    return torch.where(multiplied[:, None], found / _divisor(mean), found - mean)


def _divisor(x: Tensor) -> Tensor:
    """``x``, kept away from 0."""
    return torch.where(x.abs() < TINY, torch.where(x < 0, -TINY, TINY), x)
