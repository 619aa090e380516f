"""The caches of a layer's state, in one piece or in pages, as its kernels read and write them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from variorum.core import Layout, State
from variorum.core.layout import positions
from variorum.layers.mixers.cache import roomy
from variorum.layers.mixers.kernels.decode_step import BoundStep, Table
from variorum.layers.mixers.pages import Pages

CACHES = "keys", "values"


class Pair(NamedTuple):
    """The caches of a state, by their names there."""

    keys: Tensor | Pages
    values: Tensor | Pages


def known(state: State) -> bool:
    """Are they of a kind that kernels are given?"""
    return all(isinstance(state[name], Tensor | Pages) for name in CACHES)


def placed(step: BoundStep, state: State, told: Sequence[int], longest: int, threads: int) -> Pair | None:
    """The caches with room for a token more of each row, ``told`` tokens long, as the next call of a step uses them;
    None for such as it does not take.
    """
    length, held = state.tensor("length"), [state[name] for name in CACHES]
    pages = [cache for cache in held if isinstance(cache, Pages)]
    if not pages:
        keys, values = (roomy(state.tensor(name), longest).contiguous() for name in CACHES)
        step.place(keys, values, length, longest, threads)
        return Pair(keys, values)
    if len(pages) != len(held) or any(cache.store.tokens.dtype != torch.float32 for cache in pages):
        return None
    for cache in pages:
        cache.claim([n + 1 for n in told])
    keys, values = (cache.store.tokens for cache in pages)
    step.place_pages(keys, values, _table(pages), length, longest, threads)
    return Pair(*pages)


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
    told, tokens = [cache.table() for cache in caches], caches[0].store.tokens
    most, size = max(map(len, told[0])), caches[0].store.size
    numbers = torch.tensor([[row + [0] * (most - len(row)) for row in side] for side in told])
    return Table(numbers.movedim(0, -1).contiguous() * (size * tokens.stride(0) * tokens.element_size()), size)
