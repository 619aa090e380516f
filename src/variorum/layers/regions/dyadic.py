"""The own token directly, all others in regions of doubling size. Ren et al. 2021, arXiv:2107.05768."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from variorum.core import Growth, State
from variorum.layers.mixers.cache import store
from variorum.layers.regions.regions import Look, Pooling, Regions, Tiles, abstracted, cut, pick


class DyadicRegions(Regions):
    """The query's own key directly; the i tokens before it as one region of 2^l tokens for each bit l of i that is set.

    Ren et al. 2021, arXiv:2107.05768 (Combiner-Logsparse). All regions are nodes of one binary tree, so that 2 n are
    summarised once and each query looks at log2(n) of them; both ways, those after it are parted in mirror image.
    """

    growth: ClassVar[Growth] = Growth.LOGLINEAR
    exports = False  # a graph has as many levels as the row that it was made of

    def looks(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, pooling: Pooling) -> list[Look]:
        n = q.shape[1]
        levels = (n - 1).bit_length()
        keys, values = [], []
        places = torch.arange(n, device=q.device)
        for level in range(levels):
            real = cut(places.new_ones(1, n), 2**level)[0] > 0
            asked, given, held = (cut(t, 2**level) for t in (q, k, v))
            told = abstracted(asked, given, held, real, scale=scale, pooling=pooling)
            keys.append(told[0])
            values.append(told[1])
        own = _itself(q, k, v, scale)
        if not levels:
            return [own]
        node, there = _nodes(n, levels, q.device, causal=causal)
        found_keys, found_values = (torch.cat(t, dim=1)[:, node] for t in (keys, values))
        return [own, _regions(q, found_keys, found_values, there, scale)]

    def start(self, empty: Tensor) -> State:
        return State(keys=empty, values=empty)

    def goes_on(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, *, first: Tensor, n: int, scale: float, pooling: Pooling
    ) -> tuple[list[Look], State]:
        """Of each level the regions are summarised anew that tokens come into. They are kept in the order of the tree:
        block b of level l at 2^l (2 b + 1) - 1, which does not change when a row grows.
        """
        levels, places = q.shape[1].bit_length(), first[:, None] + torch.arange(n, device=q.device)
        keys, values, slots = [], [], []
        for level in range(levels):
            tiles = Tiles(first, n, 2**level)
            told = tiles.abstracted(*(tiles.around(t) for t in (q, k, v)), scale=scale, pooling=pooling)
            keys.append(told[0])
            values.append(told[1])
            slots.append(2**level * (2 * tiles.numbers + 1) - 1)
        new, where = {"keys": torch.cat(keys, dim=1), "values": torch.cat(values, dim=1)}, torch.cat(slots, dim=1)
        after = State({name: store(state.tensor(name), t, where) for name, t in new.items()})
        size = 2 ** torch.arange(levels, device=q.device)
        block = places[:, :, None] // size - 1
        there = block % 2 == 0
        node = (size * (2 * block + 1) - 1).where(there, 0)
        found_keys, found_values = (pick(after.tensor(name), node).to(q.dtype) for name in new)
        asked = pick(q, places)
        own = _itself(asked, pick(k, places), pick(v, places), scale)
        return [own, _regions(asked, found_keys, found_values, there, scale)], after


def _itself(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Look:
    return Look((q * k).sum(dim=-1, keepdim=True) * scale, lambda w: w * v)


def _regions(q: Tensor, keys: Tensor, values: Tensor, there: Tensor, scale: float) -> Look:
    """keys, values: (batch, n, m, heads, d), each query's own; there: which of them there are, (n, m) of all rows."""
    scores = torch.einsum("bihd,bimhd->bihm", q, keys) * scale
    return Look(
        scores.masked_fill(~there.unsqueeze(-2), -math.inf), lambda w: torch.einsum("bihm,bimhd->bihd", w, values)
    )


def _nodes(n: int, levels: int, device: torch.device, *, causal: bool) -> tuple[Tensor, Tensor]:
    """The nodes (n, m) that each token looks at, counted level after level, and whether there is such a one."""
    i, level = torch.arange(n, device=device)[:, None], torch.arange(levels, device=device)
    size = 2**level
    first = torch.tensor([sum(-(-n // 2**b) for b in range(a)) for a in range(levels)], device=device)
    behind = (i // size) % 2 == 1
    node, there = [first + i // size - 1], [behind]
    if not causal:
        mirrored = 2**levels - 1 - i
        block = 2 ** (levels - level) - mirrored // size
        node.append(first + block)
        there.append(((mirrored // size) % 2 == 1) & (block * size < n))
    found = torch.cat(there, dim=1)
    return torch.cat(node, dim=1).where(found, 0), found
