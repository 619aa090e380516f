"""A row cut into blocks for patterns that look back a bounded distance. Beltagy et al. 2020, arXiv:2004.05150."""

import torch
import torch.nn.functional as F
from torch import Tensor


def query_blocks(x: Tensor, reach: int) -> Tensor:
    """(batch, n, heads, head_dim) -> (batch * blocks, reach, heads, head_dim); the last block is filled up with 0."""
    blocks = -(-x.shape[1] // reach)
    return F.pad(x, (0, 0, 0, 0, 0, blocks * reach - x.shape[1])).unflatten(1, (blocks, reach)).flatten(0, 1)


def key_blocks(x: Tensor, reach: int) -> Tensor:
    """(batch, reach + n, heads, head_dim) -> (batch * blocks, 2 * reach, ...): each block's own keys after the one's
    before it. The first ``reach`` keys are those before the first query.
    """
    blocks = -(-x.shape[1] // reach)
    cut = F.pad(x, (0, 0, 0, 0, 0, blocks * reach - x.shape[1])).unflatten(1, (blocks, reach))
    return torch.cat([cut[:, :-1], cut[:, 1:]], dim=2).flatten(0, 1)


def places(start: Tensor, n: int, reach: int) -> tuple[Tensor, Tensor]:
    """Positions (batch * blocks, reach) of queries and (batch * blocks, 2 * reach) of keys, in the same order.

    start: (batch,) position of each row's first query. Keys at negative positions are none.
    """
    blocks = -(-n // reach)
    first = start[:, None] + reach * torch.arange(blocks, device=start.device)
    queries = first.flatten()[:, None] + torch.arange(reach, device=start.device)
    keys = first.flatten()[:, None] + torch.arange(-reach, reach, device=start.device)
    return queries, keys
