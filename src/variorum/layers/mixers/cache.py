"""A cache of what earlier tokens said, by their places in the row."""

import torch
from torch import Tensor


def store(cache: Tensor, new: Tensor, slots: Tensor) -> Tensor:
    """Write ``new`` (batch, n, ...) at ``slots`` (batch, n) of a cache (batch, capacity, ...), doubled when full."""
    need = int(slots.max()) + 1 if slots.numel() else 0
    if need > cache.shape[1]:
        capacity = max(need, 2 * cache.shape[1], 16)
        cache = torch.cat([cache, cache.new_zeros(cache.shape[0], capacity - cache.shape[1], *cache.shape[2:])], 1)
    rows = torch.arange(cache.shape[0], device=cache.device)[:, None]
    if torch.is_grad_enabled():
        return cache.index_put((rows, slots), new.to(cache.dtype))
    cache[rows, slots] = new.to(cache.dtype)
    return cache
