"""MiniROCKET: how often convolutions of fixed kernels exceed a bias. Dempster et al. 2020, arXiv:2012.08791."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Layout, Traits, VariorumError, pool_rows
from variorum.models.summaries.summary import Summary

TAPS, KERNELS = 9, 84
"""A kernel has nine weights, three of 2 and six of -1: 84 in all."""


class MiniRocket(Summary):
    """s_i = share of the places t at which (w_k *_d v)_t > b_i: (*steps, channels) -> (rows, count).

    Dempster et al. 2020, arXiv:2012.08791. Every kernel k is used with every dilation d, up to one at which it spans a
    row of ``steps`` steps; every other one of these pairs sees zeros beyond the row, the rest only places where the
    kernel lies within it (a row too short for any has the share 0). A bias is a quantile, of golden-ratio order, of
    the convolution of one training row. Of several channels, each pair sees the sum over a random few.

    features: at most; ``count`` is the largest multiple of 84 within it.     dilations: of a kernel, at most.
    """

    reads = "labelled series"
    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads=reads)})
    traits: Traits = Traits(bounded=True)
    examples = ({"steps": 20, "features": 2 * KERNELS},)
    weight: Tensor
    bias: Tensor
    channel: Tensor

    def __init__(self, channels: int, steps: int, *, features: int = 9996, dilations: int = 32) -> None:
        super().__init__()
        if features < KERNELS or dilations < 1:
            raise VariorumError("MiniRocket", expected=f"at least {KERNELS} features and one dilation",
                                found=f"{features} and {dilations}", do="Choose more.")  # fmt: skip
        self.dilations, self.shares = spread(steps, features // KERNELS, dilations)
        self.count = KERNELS * sum(self.shares)
        self.register_buffer("weight", kernels(), persistent=False)
        self.register_buffer("bias", torch.zeros(self.count))
        self.register_buffer("channel", torch.ones(len(self.dilations), KERNELS, channels, dtype=torch.bool))

    def learn(self, rows: Sequence[Tensor], seed: int) -> None:
        """Draw the channels of each pair, and take its biases from a row drawn for it."""
        rng = np.random.default_rng(seed)
        channels = self.channel.shape[2]
        most = math.log2(min(channels, TAPS) + 1)
        chosen = np.zeros(self.channel.shape, dtype=bool)
        for pair in np.ndindex(*chosen.shape[:2]):
            chosen[pair][rng.choice(channels, int(2 ** rng.uniform(0, most)), replace=False)] = True
        self.channel.copy_(torch.from_numpy(chosen))
        golden = (np.arange(1, self.count + 1) * ((math.sqrt(5) + 1) / 2) % 1).astype(np.float32)
        found, start = np.zeros(self.count, np.float32), 0
        for j, share in enumerate(self.shares):
            for k in range(KERNELS):
                seen = self._convolve(rows[int(rng.integers(len(rows)))][None], j, slice(k, k + 1))[0, 0]
                found[start : start + share] = np.quantile(seen.numpy(), golden[start : start + share])
                start += share
        self.bias.copy_(torch.from_numpy(found))

    def forward(
        self, inputs: Float[Tensor, "*steps channels"], layout: Layout | None = None
    ) -> Float[Tensor, "rows count"]:
        return pool_rows(self._shares, layout, inputs)

    def _shares(self, rows: Tensor) -> Tensor:
        """(batch, n, channels) -> (batch, count)."""
        n = rows.shape[1]
        place = torch.arange(n, device=rows.device)
        biases = self.bias.split([KERNELS * share for share in self.shares])
        found = []
        for j, (dilation, bias) in enumerate(zip(self.dilations, biases, strict=True)):
            seen = self._convolve(rows, j, slice(None))
            reach = dilation * (TAPS // 2)
            within = ((place >= reach) & (place < n - reach)).to(rows.dtype)
            # Products count; a sum of truth values would take longer.
            counted = torch.stack([torch.ones_like(within), within], dim=1)
            total = counted.sum(dim=0).clamp(min=1)
            over = torch.stack([(seen > b[:, None]).to(rows.dtype) @ counted / total
                                for b in bias.view(KERNELS, -1).unbind(1)], dim=2)  # fmt: skip
            padded = (torch.arange(KERNELS, device=rows.device) + j) % 2 == 0
            found.append(torch.where(padded[:, None], over[..., 0], over[..., 1]).flatten(1))
        return torch.cat(found, dim=1)

    def _convolve(self, rows: Tensor, j: int, of: slice) -> Tensor:
        """(batch, n, channels) -> (batch, kernels, n), the kernels ``of`` at the j-th dilation."""
        weight = self.channel[j, of, :, None].to(rows.dtype) * self.weight[of, None].to(rows.dtype)
        dilation, n = self.dilations[j], rows.shape[1]
        beyond = dilation * (TAPS // 2)
        wide = F.pad(rows.transpose(1, 2), (beyond, beyond))
        taps = torch.stack([wide[:, :, i * dilation : i * dilation + n] for i in range(TAPS)], dim=2)
        return weight.flatten(1) @ taps.flatten(1, 2)


def kernels() -> Float[Tensor, "84 9"]:
    """-1 everywhere but at three taps, where it is 2; in the order of those."""
    weight = torch.full((KERNELS, TAPS), -1.0)
    for k, twos in enumerate(combinations(range(TAPS), 3)):
        weight[k, list(twos)] = 2.0
    return weight


def spread(length: int, each: int, most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Dilations 2^0 ... (length - 1) / 8, geometric and rounded down, and how many of a kernel's ``each`` features
    every one gets: as many as fell on it, in proportion, and what is left one by one from the first.
    """
    steps = min(each, most)
    last = math.log2(max(length - 1, TAPS - 1) / (TAPS - 1))
    found, counts = np.unique(np.logspace(0, last, steps, base=2).astype(np.int64), return_counts=True)
    shares = (counts * (each / steps)).astype(np.int64)
    left = each - int(shares.sum())
    shares += left // len(shares)
    shares[: left % len(shares)] += 1
    return tuple(found.tolist()), tuple(shares.tolist())
