"""A cache in pages that many rows, and many states, share. Kwon et al. 2023, arXiv:2309.06180."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Self, cast

import torch
from torch import Tensor

from variorum.core import Held, VariorumError


class PageStore:
    """Memory for ``count`` pages of ``size`` tokens each, and which of them are free.

    like: what is kept of one token, of shape (...).     relief: asked when no page is free: it lets something go and
    says whether it could.
    """

    def __init__(self, like: Tensor, *, count: int, size: int, relief: Callable[[], bool] = lambda: False) -> None:
        if count < 1 or size < 1:
            raise VariorumError("pages", expected="one page at least, of one token at least",
                                found=f"{count} of {size}", do="Choose more.")  # fmt: skip
        self.count, self.size, self.relief = count, size, relief
        self.tokens = like.new_empty(count * size, *like.shape)
        self.free = set(range(count))

    def take(self, after: "Page | None") -> "Page":
        """A free page: the one that follows ``after`` if it can be, so that a row stays in one run; else one with room
        behind it.
        """
        while not self.free:
            if not self.relief():
                raise VariorumError("pages", expected=f"a free one of {self.count}", found="none",
                                    do="Make more pages, or let fewer rows in.")  # fmt: skip
        follower = None if after is None else after.index + 1
        index = follower if follower in self.free else self._roomiest()
        self.free.discard(index)
        return Page(self, index)

    def _roomiest(self) -> int:
        """The middle of the longest run of free pages; its first page if nothing is taken yet."""
        order = sorted(self.free)
        if len(order) == self.count:
            return 0
        cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(order)) if b != a + 1), len(order)]
        first, last = max(pairwise(cuts), key=lambda cut: cut[1] - cut[0])
        return order[(first + last) // 2]


class Page:
    """A page that is taken; free again when no row has it any more."""

    def __init__(self, store: PageStore, index: int) -> None:
        self.store, self.index = store, index

    def __del__(self) -> None:
        self.store.free.add(self.index)


class _Row:
    """The pages of one row, in order, and how many tokens are written in them."""

    def __init__(self, pages: Sequence[Page] = (), written: int = 0) -> None:
        self.pages, self.written = list(pages), written

    def copied(self, store: PageStore) -> "_Row":
        """Full pages are shared, for nobody writes in them again; the last one, if not full, is copied."""
        full, rest = divmod(self.written, store.size)
        pages = self.pages[:full]
        if rest:
            last = store.take(pages[-1] if pages else None)
            a, b = (page.index * store.size for page in (self.pages[full], last))
            store.tokens[b : b + rest] = store.tokens[a : a + rest]
            pages = [*pages, last]
        return _Row(pages, self.written)

    def claim(self, store: PageStore, count: int) -> None:
        """Take pages until there is room for ``count`` tokens, which then count as written."""
        while len(self.pages) * store.size < count:
            self.pages.append(store.take(self.pages[-1] if self.pages else None))
        self.written = count

    def places(self, store: PageStore, first: int, n: int) -> list[int]:
        """Where tokens ``first`` to ``first + n - 1`` are."""
        return [self.pages[t // store.size].index * store.size + t % store.size for t in range(first, first + n)]

    def runs(self, store: PageStore) -> list[slice]:
        """Where the tokens written lie, as few runs."""
        runs: list[slice] = []
        left = self.written
        for page in self.pages[: -(-left // store.size)]:
            first, n = page.index * store.size, min(store.size, left)
            left -= n
            if runs and runs[-1].stop == first:
                runs[-1] = slice(runs[-1].start, first + n)
            else:
                runs.append(slice(first, first + n))
        return runs


class Pages(Held):
    """Rows of a cache in the pages of a store: where ``(batch, places, ...)`` would stand, without room unused.

    Rows that go on from the same beginning share its full pages (:meth:`copy`). Nothing is moved when rows come or go.
    """

    def __init__(self, store: PageStore, rows: Sequence[_Row]) -> None:
        self.store, self._rows = store, list(rows)
        self._told: tuple[list[list[int]], Tensor] = [], torch.empty(0, 0, dtype=torch.int64)

    @classmethod
    def empty(cls, store: PageStore, batch: int) -> Self:
        """Rows without a token."""
        return cls(store, [_Row() for _ in range(batch)])

    def write(self, new: Tensor, slots: Tensor) -> None:
        """Write ``new`` (batch, n, ...) at ``slots`` (batch, n), one after another in each row."""
        n = slots.shape[1]
        if n:
            self.write_packed(new.flatten(0, 1), slots[:, 0].tolist(), [n] * len(slots))

    def write_packed(self, new: Tensor, firsts: Sequence[int], counts: Sequence[int]) -> None:
        """Write ``new`` (tokens, ...): of each row so many, from the place on that is its first."""
        self.claim([first + n for first, n in zip(firsts, counts, strict=True)])
        rows, tokens = zip(self._rows, firsts, counts, strict=True), self.store.tokens
        places = [place for row, first, n in rows for place in row.places(self.store, first, n)]
        tokens[torch.tensor(places, device=tokens.device)] = new.to(tokens.dtype)

    def claim(self, counts: Sequence[int]) -> None:
        """Take the pages that each row needs for so many tokens, which the caller then writes."""
        for row, count in zip(self._rows, counts, strict=True):
            row.claim(self.store, count)

    def table(self) -> Tensor:
        """(rows, pages) The pages of each row, by number; 0 where others have more. The same tensor while they stay."""
        told = [[page.index for page in row.pages] for row in self._rows]
        if told != self._told[0]:
            most = max(map(len, told), default=0)
            self._told = told, torch.tensor([row + [0] * (most - len(row)) for row in told])
        return self._told[1]

    def runs(self, row: int) -> list[Tensor]:
        """What is kept of a row's tokens, in order, as views of the store."""
        return [self.store.tokens[run] for run in self._rows[row].runs(self.store)]

    def row(self, row: int) -> Tensor:
        """What is kept of a row's tokens, (tokens, ...); copied only if its pages do not follow one another."""
        runs = self.runs(row)
        return in_one(runs) if runs else self.store.tokens[:0]

    def dense(self) -> Tensor:
        """The same rows as one tensor (batch, places, ...), zero where a row has no token."""
        rows = [self.row(i) for i in range(len(self._rows))]
        out = self.store.tokens.new_zeros(len(rows), max((len(r) for r in rows), default=0), *self._shape)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    def rows(self, index: Tensor) -> Self:
        taken: set[int] = set()
        rows = []
        for i in index.tolist():
            rows.append(self._rows[i].copied(self.store) if i in taken else self._rows[i])
            taken.add(i)
        return type(self)(self.store, rows)

    def put(self, index: Tensor, part: Held) -> Self:
        rows = list(self._rows)
        for i, row in zip(index.tolist(), cast(Pages, part)._rows, strict=True):
            rows[i] = row
        return type(self)(self.store, rows)

    def copy(self) -> Self:
        return type(self)(self.store, [row.copied(self.store) for row in self._rows])

    def joined(self, others: Sequence[Held]) -> Self:
        return type(self)(self.store, [row for pages in (self, *others) for row in cast(Pages, pages)._rows])

    def back(self, count: Tensor) -> Self:
        size = self.store.size
        for row, n in zip(self._rows, count.tolist(), strict=True):
            before, row.written = row.written, row.written - n
            del row.pages[-(-row.written // size) :]
            full, rest = divmod(row.written, size)
            if rest and before >= (full + 1) * size:  # the last page was full, so that others may have it
                row.pages = row.copied(self.store).pages
        return self

    @property
    def nbytes(self) -> int:
        pages = {page.index for row in self._rows for page in row.pages}
        return len(pages) * self.store.size * self.store.tokens[:1].nbytes

    @property
    def _shape(self) -> torch.Size:
        return self.store.tokens.shape[1:]


def in_one(runs: Sequence[Tensor]) -> Tensor:
    """Runs, one at least, as one; copied only if there are several."""
    return runs[0] if len(runs) == 1 else torch.cat(list(runs))


def attend_runs(q: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], scale: float) -> Tensor:
    """softmax(q k^T * scale) v of one query (heads, head_dim) over runs (m_i, kv_heads, head_dim) of keys, unmoved."""
    groups = q.unflatten(0, (keys[0].shape[1], -1))  # (kv_heads, queries of each, head_dim)
    scores = torch.cat([groups @ k.permute(1, 2, 0) for k in keys], -1) * scale
    weights = scores.softmax(-1).split([len(k) for k in keys], -1)
    parts = [w @ v.transpose(0, 1) for w, v in zip(weights, values, strict=True)]
    return sum(parts[1:], parts[0]).flatten(0, 1)
