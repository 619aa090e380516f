"""The own block directly, every other block as one. Ren et al. 2021, arXiv:2107.05768, Combiner-Fixed."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from variorum.core import Growth, State, VariorumError
from variorum.layers.mixers.cache import store
from variorum.layers.regions.regions import Look, Pooling, Regions, Tiles, abstracted, cut, pick


class BlockRegions(Regions):
    """Blocks of ``size`` tokens: the keys of the query's own directly, and one region for each other (earlier) one.

    Ren et al. 2021, arXiv:2107.05768 (Combiner-Fixed). n * (size + n / size) scores: n^1.5 with a size near sqrt(n).
    """

    growth: ClassVar[Growth] = Growth.QUADRATIC
    examples = ({"size": 3},)

    def __init__(self, *, size: int) -> None:
        if size < 1:
            raise VariorumError("BlockRegions", expected="blocks of 1 token or more", found=str(size), do="Use more.")
        self.size = size

    def looks(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, pooling: Pooling) -> list[Look]:
        n, size = q.shape[1], min(self.size, q.shape[1])
        places = torch.arange(n, device=q.device)
        real = cut(places.new_ones(1, n), size)[0] > 0
        asked, given, held = (cut(t, size) for t in (q, k, v))
        near = torch.einsum("bsihd,bsjhd->bsihj", asked, given) * scale
        seen = real[:, None, :]
        if causal:
            seen = seen & (torch.ones(size, size, device=q.device).tril() > 0)
        near = near.masked_fill(~seen[:, :, None], -math.inf).flatten(1, 2)[:, :n]
        keys, values = abstracted(asked, given, held, real, scale=scale, pooling=pooling)
        own, others = places // size, torch.arange(real.shape[0], device=q.device)
        far = torch.einsum("bihd,bshd->bihs", q, keys) * scale
        looked = others < own[:, None] if causal else others != own[:, None]

        def read(weights: Tensor) -> Tensor:
            told = torch.einsum("bsihj,bsjhd->bsihd", cut(weights, size), held)
            return told.flatten(1, 2)[:, : weights.shape[1]]

        return [
            Look(near, read),
            Look(far.masked_fill(~looked[:, None], -math.inf), lambda w: torch.einsum("bihs,bshd->bihd", w, values)),
        ]

    def start(self, empty: Tensor) -> State:
        return State(keys=empty, values=empty)

    def goes_on(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, *, first: Tensor, n: int, scale: float, pooling: Pooling
    ) -> tuple[list[Look], State]:
        """Blocks are summarised anew as long as tokens come into them, and then kept."""
        tiles = Tiles(first, n, self.size)
        given, held = tiles.around(k), tiles.around(v)
        new = tiles.abstracted(tiles.around(q), given, held, scale=scale, pooling=pooling)
        kept = [store(state.tensor(name), t, tiles.numbers) for name, t in zip(("keys", "values"), new, strict=True)]
        keys, values = (t.to(q.dtype) for t in kept)
        far = torch.einsum("bihd,bshd->bihs", pick(q, tiles.places), keys) * scale
        later = torch.arange(keys.shape[1], device=q.device) >= tiles.blocks[:, :, None]
        return [
            tiles.own(tiles.tokens(q), given, held, scale=scale),
            Look(far.masked_fill(later[:, :, None], -math.inf), lambda w: torch.einsum("bihs,bshd->bihd", w, values)),
        ], State(keys=kept[0], values=kept[1])
