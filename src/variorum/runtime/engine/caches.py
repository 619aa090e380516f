"""The caches of a layer's state, in one piece or in pages, as its kernels read and write them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from variorum.core import Held, Layout, State
from variorum.core.layout import positions
from variorum.layers.mixers.cache import roomy
from variorum.layers.mixers.kernels.decode_step import BoundStep, Table
from variorum.layers.mixers.pages import Pages
from variorum.runtime.engine.moving_window import moved_on

CACHES = "keys", "values"


class Pair(NamedTuple):
    """The caches of a state, by their names there."""

    keys: Tensor | Held
    values: Tensor | Held

    @classmethod
    def of(cls, state: State) -> "Pair":
        """Those of a state."""
        return cls(cast(Tensor, state["keys"]), cast(Tensor, state["values"]))

    @property
    def known(self) -> bool:
        """Are they of a kind that kernels are given?"""
        return all(isinstance(cache, Tensor | Pages) for cache in self)


def slots(length: Tensor, reach: int | None) -> Tensor:
    """Where the next token of each row (rows,) goes; the last ``reach`` tokens are kept, or all."""
    return length if reach is None else length.clamp_max(reach - 1)


def placed(step: BoundStep, state: State, told: Sequence[int], slots: Tensor, threads: int) -> Pair | None:
    """The caches with room for a token more of each row, ``told`` tokens long, as the next call of a step uses them;
    None for such as it does not take.
    """
    longest, held = max(told) + 1, [state[name] for name in CACHES]
    pages = [cache for cache in held if isinstance(cache, Pages)]
    if not pages:
        keys, values = (roomy(state.tensor(name), longest).contiguous() for name in CACHES)
        step.place(keys, values, slots, longest, threads)
        return Pair(keys, values)
    if len(pages) != len(held) or any(cache.store.tokens.dtype != torch.float32 for cache in pages):
        return None
    for cache in pages:
        cache.claim([n + 1 for n in told])
    keys, values = (cache.store.tokens for cache in pages)
    step.place_pages(keys, values, _table(pages), slots, longest, threads)
    return Pair(*pages)


def moved(step: BoundStep, state: State, told: Sequence[int], slots: Tensor, reach: int, threads: int) -> Pair | None:
    """The same for windows of the last ``reach`` tokens, which rows have to fill equally far."""
    used = min(told[0], reach - 1)
    if any(min(n, reach - 1) != used for n in told):
        return None
    (keys, first), (values, second) = (moved_on(state.tensor(name), used) for name in CACHES)
    step.place(keys, values, slots, used + 1, threads)
    return Pair(first, second)


def filled(cache: Any, new: Tensor, layout: Layout, reach: int | None) -> Any:
    """An empty cache with the keys, or values, of packed rows (tokens, kv_heads, head_dim)."""
    if isinstance(cache, Pages):
        cache.write_packed(new, [0] * len(layout.lengths), layout.lengths)
        return cache
    counts = torch.tensor(layout.lengths)
    rows, places = torch.repeat_interleave(counts), positions(new, layout)
    if reach is None:
        cache = roomy(cache, max(layout.lengths))
    else:
        cache, places = cache.clone(), places + (reach - counts)[rows]
    cache[rows, places] = new
    return cache


def _table(caches: Sequence[Pages]) -> Table:
    """Where the pages of keys and values lie, which are alike and as many of each row."""
    first = caches[0].store
    size = first.size * first.tokens.stride(0) * first.tokens.element_size()
    return Table(torch.stack([cache.table() for cache in caches], dim=-1) * size, first.size)
