"""Keys that are looked at one by one, and regions that are looked at as one. Ren et al. 2021, arXiv:2107.05768."""

import math
from abc import abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.core import Growth, Registered, State


class Pooling(StrEnum):
    """How a region's tokens make its query and its key."""

    MAX = "max"
    MEAN = "mean"


class Look(NamedTuple):
    """What each query may look at in one way. scores: (batch, n, heads, m), -inf where there is nothing to look at.
    read: weights (batch, n, heads, m) -> what they read, (batch, n, heads, head_dim).
    """

    scores: Tensor
    read: Callable[[Tensor], Tensor]


class Regions(Registered, abstract=True):
    """Which keys a query looks at directly, and which regions as one; together all keys, or all up to the query.

    growth: of the number of scores with the length of the row.    exports: a graph of it takes rows of any length.
    """

    kind: ClassVar[str] = "regions"
    growth: ClassVar[Growth]
    exports: bool = True

    @abstractmethod
    def looks(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, pooling: Pooling) -> list[Look]:
        """q, k and v of equal rows, (batch, n, heads, head_dim); n is not 0."""

    @abstractmethod
    def start(self, empty: Tensor) -> State:
        """What is kept of regions beside the tokens, before the first; empty: (batch, 0, heads, head_dim)."""

    @abstractmethod
    def goes_on(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, *, first: Tensor, n: int, scale: float, pooling: Pooling
    ) -> tuple[list[Look], State]:
        """What the n tokens of each causal row from ``first`` (batch,) on look at, as they do in the whole row.

        q, k and v: of all tokens up to them, (batch, capacity, heads, head_dim), finite behind a row's last token,
        where nothing is looked at; n is not 0.
        """


class Tiles:
    """Of each causal row the n tokens from ``first`` (batch,) on, in the blocks of ``size`` tokens that they lie in.

    Several tokens are laid out as whole blocks, so that one product meets a block's keys with all of its queries, and
    what it says of other tokens is left out again. One token lies alone.

    places: of the tokens in their rows, (batch, n).  blocks: the number of the block of each, (batch, n).
    numbers: of the blocks that are laid out, as many as n tokens may touch, (batch, tiles).
    """

    def __init__(self, first: Tensor, n: int, size: int) -> None:
        here, self._in_block = (torch.arange(count, device=first.device) for count in (n, size))
        self.size, self.alone = size, n == 1
        self.places = first[:, None] + here
        self.blocks = self.places // size
        self.numbers = self.blocks[:, :1] + torch.arange((n + 2 * size - 2) // size, device=first.device)
        self._slots = first[:, None] % size + here

    def around(self, x: Tensor) -> Tensor:
        """(batch, capacity, ...) -> (batch, tiles, size, ...), anything behind the last token."""
        places = self.numbers[:, :, None] * self.size + self._in_block
        return pick(x, places.clamp(max=x.shape[1] - 1))

    def tokens(self, x: Tensor) -> Tensor:
        """(batch, capacity, ...) -> (batch, tiles, width, ...), width ``size``, or 1 for one token."""
        return pick(x, self.places)[:, None] if self.alone else self.around(x)

    def columns(self, x: Tensor) -> Tensor:
        """What stands below and above the tokens in all blocks, (batch, blocks, size, ...) -> (..., width, ...)."""
        return pick(x.transpose(1, 2), self._slots).transpose(1, 2) if self.alone else x

    def own(self, q: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Look:
        """The keys of a token's own block up to itself; q as :meth:`tokens` has it, the others as :meth:`around`."""
        places = self._slots if self.alone else self._in_block[None]
        ahead = self._in_block > places[:, :, None]
        scores = torch.einsum("bsihd,bsjhd->bsihj", q, keys) * scale
        scores = scores.masked_fill(ahead[:, None, :, None], -math.inf)
        return Look(self.told(scores), lambda w: self.told(torch.einsum("bsihj,bsjhd->bsihd", self.laid(w), values)))

    def told(self, x: Tensor) -> Tensor:
        """(batch, tiles, width, ...) -> what is said of the tokens, (batch, n, ...)."""
        return x.flatten(1, 2) if self.alone else pick(x.flatten(1, 2), self._slots)

    def laid(self, x: Tensor) -> Tensor:
        """(batch, n, ...) -> (batch, tiles, width, ...), zeros for other tokens."""
        if self.alone:
            return x[:, None]
        batch, tiles = self.numbers.shape
        rows = torch.arange(batch, device=x.device)[:, None]
        empty = x.new_zeros(batch, tiles * self.size, *x.shape[2:])
        return empty.index_put((rows, self._slots), x).unflatten(1, (tiles, self.size))

    def abstracted(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, pooling: Pooling) -> tuple[Tensor, Tensor]:
        """Key and value of every block that is laid out as :meth:`around` has it, (batch, tiles, heads, d) each; what
        is said of one that is not yet full means nothing.
        """
        return abstracted(q, k, v, self._in_block[None] >= 0, scale=scale, pooling=pooling)


def pick(x: Tensor, places: Tensor) -> Tensor:
    """Of each row (batch, n, ...) what stands at its places (batch, *m), (batch, *m, ...)."""
    rows = torch.arange(x.shape[0], device=x.device)
    return x[rows.reshape(-1, *[1] * (places.dim() - 1)), places]


def cut(x: Tensor, size: int) -> Tensor:
    """(batch, n, ...) -> (batch, blocks, size, ...), zeros after the last token."""
    return F.pad(x, (0, 0) * (x.dim() - 2) + (0, -x.shape[1] % size)).unflatten(1, (-1, size))


def abstracted(
    q: Tensor, k: Tensor, v: Tensor, real: Tensor, *, scale: float, pooling: Pooling
) -> tuple[Tensor, Tensor]:
    """Key and value of every region: its pooled key, and sum_j softmax_j(pooled query . k_j * scale) v_j.

    q, k, v (batch, regions, size, heads, d); real (regions, size): which tokens there are -> (batch, regions, heads, d)
    each. What is said of a region without tokens means nothing, but is finite.
    """
    shown = real | ~real.any(dim=1, keepdim=True)
    hidden = ~shown[:, :, None, None]
    if pooling is Pooling.MAX:
        query, key = (t.masked_fill(hidden, -math.inf).amax(dim=2) for t in (q, k))
    else:
        query, key = (t.masked_fill(hidden, 0.0).sum(dim=2) / shown.sum(1)[:, None, None] for t in (q, k))
    scores = (query.unsqueeze(2) * k).sum(dim=-1, keepdim=True) * scale
    return key, (scores.masked_fill(hidden, -math.inf).softmax(dim=2) * v).sum(dim=2)
