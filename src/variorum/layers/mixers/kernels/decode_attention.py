"""Attention of one new token a row over a long, ragged past. Sanovar et al. 2024, arXiv:2405.10480 (LeanAttention)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.mixers.kernels.decode_tiles import attend_tiles
from variorum.layers.mixers.kernels.online_softmax import Partial
from variorum.layers.mixers.kernels.stream_k import Piece, shares
from variorum.layers.mixers.kernels.token_code import Heads
from variorum.layers.mixers.kernels.worker_threads import in_threads

TILE = 512
"""Keys of a tile: with fewer, what is found of each, which is written down and merged, takes time beside reading."""
Runs = Sequence[Sequence[Float[Tensor, "run kv_heads head_dim"]]]
"""For each row the runs in which its keys, or values, lie in memory, in the order of its tokens."""

Schedule = Callable[[tuple[int, ...], int, int], Sequence[Sequence[Piece]]]
"""The tiles of each row, heads and workers -> what each worker does."""


def decode_attention(
    q: Float[Tensor, "rows heads head_dim"],
    keys: Runs,
    values: Runs,
    *,
    scale: float,
    tile: int = TILE,
    workers: int | None = None,
    schedule: Schedule = shares,
) -> Float[Tensor, "rows heads head_dim"]:
    """softmax(scale * q k^T) v of each row's one query over its own keys, all threads equally busy whatever the rows.

    The keys of every row and kv head are cut into tiles; all tiles lie end to end, and each of ``workers`` shares holds
    as many of them, across heads and rows (:mod:`stream_k`). What is found of a head's tiles is merged
    (:mod:`online_softmax`). The last tile of a row may be shorter: nothing is read that is not a row's own.

    Shares are done in one call of machine code (:mod:`decode_tiles`), by as many threads as torch has; where there is
    none for these heads (:meth:`~variorum.layers.mixers.kernels.token_code.Heads.of`: llvmlite is missing, or other
    numbers are kept than float32 and bfloat16) by torch's own kernel, a thread a share.

    keys, values: views of a cache with any strides, read in place (:func:`row_runs`; pages that do not follow one
    another are runs of their own; only torch's kernel has a tile that lies in several put together). A row without
    keys gives zeros.     workers: torch's threads unless given.     schedule: how tiles are shared out; others are
    there to compare. A row's answer is the same, bit by bit, whatever the workers, the other rows and the runs (torch's
    kernel keeps that for heads that fill vectors). Forward only; the readable form, which has gradients, is
    :func:`decode_attention_naive`.

    Raises :class:`VariorumError` for heads that kv heads do not divide, keys that are not as many as values, and
    numbers of another type or width than those of q.
    """
    tiles = tuple(-(-sum(row) // tile) for row in _check(q, keys, values))
    if not any(tiles):
        return torch.zeros_like(q)
    some = next(run for row in keys for run in row)
    cut = schedule(tiles, some.shape[1], torch.get_num_threads() if workers is None else workers)
    kind = Heads.of(q, some)
    if kind is None:
        return _by_torch(q, keys, values, cut, tiles, scale=scale, tile=tile)
    return attend_tiles(q, keys, values, cut, tiles, kind, scale=scale, tile=tile).to(q.dtype)


def decode_attention_naive(
    q: Float[Tensor, "rows heads head_dim"], keys: Runs, values: Runs, *, scale: float, tile: int = TILE
) -> Float[Tensor, "rows heads head_dim"]:
    """The twin of :func:`decode_attention` that is read: row by row, the tiles merged one after another."""
    _check(q, keys, values)
    rows = []
    for query, own in zip(q, zip(keys, values, strict=True), strict=True):
        if not any(len(run) for run in own[0]):
            rows.append(torch.zeros_like(query))
            continue
        k, v = (torch.cat(list(runs)).transpose(0, 1) for runs in own)
        groups = query.unflatten(0, (len(k), -1))
        seen = Partial.none(groups)
        for first in range(0, k.shape[1], tile):
            seen = seen.merge(Partial.of(groups, k[:, first : first + tile], v[:, first : first + tile], scale=scale))
        rows.append(seen.answer().flatten(0, 1))
    return torch.stack(rows) if rows else torch.zeros_like(q)


def row_runs(cache: Float[Tensor, "rows capacity kv_heads head_dim"], lengths: Sequence[int]) -> Runs:
    """The runs of a batch of caches, of which each row uses the first of its places: as many as ``lengths`` says."""
    return [[row[:length]] for row, length in zip(cache, lengths, strict=True)]


class _Stretch(NamedTuple):
    """Tiles of a row from number ``first`` on: keys and values (tiles, tile, kv_heads, head_dim), views of a cache."""

    first: int
    keys: Tensor
    values: Tensor


def _check(q: Tensor, keys: Runs, values: Runs) -> list[list[int]]:
    """How many keys the runs of each row have."""
    kinds: set[tuple[int, int, torch.dtype]] = set()
    sides: list[list[list[int]]] = []
    for runs in (keys, values):
        side = []
        for row in runs:
            shapes = [run.shape for run in row]
            kinds.update((heads, width, run.dtype) for (_, heads, width), run in zip(shapes, row, strict=True))
            side.append([count for count, _, _ in shapes])
        sides.append(side)
    told, of_values = sides
    _, heads, width = q.shape
    fits = all(not heads % count and (size, dtype) == (width, q.dtype) for count, size, dtype in kinds)
    if told != of_values or len(keys) != len(q) or len(kinds) > 1 or not fits:
        raise VariorumError(
            "decode_attention",
            expected="runs for each row, of as many keys as values, kv heads that divide heads, q's width and type",
            found=f"{len(q)} rows of {tuple(q.shape[1:])} {q.dtype}, runs of {len(keys)} and {len(values)}: {kinds}",
            do="Pass q (rows, heads, head_dim), and for each row views (run, kv_heads, head_dim).",
        )
    return told


def _by_torch(q: Tensor, keys: Runs, values: Runs, cut: Sequence[Sequence[Piece]], tiles: Sequence[int], *,
              scale: float, tile: int) -> Tensor:  # fmt: skip
    """The same by torch's kernel, called in a thread for each share."""
    kv_heads = next(run.shape[1] for row in keys for run in row)
    stretches = [_stretches(*runs, tile) for runs in zip(keys, values, strict=True)]
    grouped = q.unflatten(1, (kv_heads, -1))
    work = [partial(_share, share, grouped, stretches, scale) for share in cut if share]
    begins = [0, *accumulate(tiles)]
    out = grouped.new_empty(begins[-1], *grouped.shape[1:], dtype=torch.promote_types(q.dtype, torch.float32))
    top = out.new_empty(out.shape[:-1])
    for piece, part in (found for share in in_threads(work) for found in share):
        at = begins[piece.row]
        place = slice(at + piece.first, at + piece.last), slice(piece.low, piece.high)
        out[place], top[place] = part.out, part.top
    return _merged(out, top, begins).reshape(q.shape).to(q.dtype)


def _stretches(keys: Sequence[Tensor], values: Sequence[Tensor], tile: int) -> list[_Stretch]:
    """A row's tiles: views where they lie in one run, put together where they lie in several."""
    found: list[_Stretch] = []
    begun: list[tuple[Tensor, Tensor]] = []
    tiles = held = 0

    def add(k: Tensor, v: Tensor) -> None:
        nonlocal tiles
        found.append(_Stretch(tiles, k, v))
        tiles += len(k)

    def close() -> None:
        nonlocal held
        k, v = (parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*begun, strict=True))
        add(k.unsqueeze(0), v.unsqueeze(0))
        begun.clear()
        held = 0

    for k, v in zip(keys, values, strict=True):
        first = min(tile - held, len(k)) if held else 0
        if first:
            begun.append((k[:first], v[:first]))
            held += first
            if held == tile:
                close()
        end = first + (len(k) - first) // tile * tile
        if end > first:
            add(*(t[first:end].unflatten(0, (-1, tile)) for t in (k, v)))
        if end < len(k):
            begun.append((k[end:], v[end:]))
            held = len(k) - end
    if begun:
        close()
    return found


def _share(
    share: Sequence[Piece], q: Tensor, stretches: Sequence[Sequence[_Stretch]], scale: float
) -> list[tuple[Piece, Partial]]:
    """What one worker finds of its tiles, (tiles, kv_heads, queries) of each stretch of each piece."""
    found = []
    for piece in share:
        for at, keys, values in stretches[piece.row]:
            low, high = max(piece.first, at), min(piece.last, at + len(keys))
            if low < high:
                heads = slice(piece.low, piece.high)
                k, v = (t[low - at : high - at, :, heads].transpose(1, 2) for t in (keys, values))
                queries = q[piece.row, heads].expand(len(k), -1, -1, -1)
                found.append((piece._replace(first=low, last=high), _fused(queries, k, v, scale)))
    return found


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Partial:
    """``Partial.of``, already divided by its total, by torch's kernel, which also tells the logarithm of the sum."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, log_sum = kernel(q, k, v, scale=scale)
    return Partial(out.to(log_sum.dtype), log_sum, torch.ones_like(log_sum))


def _merged(out: Tensor, top: Tensor, begins: Sequence[int]) -> Tensor:
    """The answers of rows whose tiles lie one after another from ``begins`` on; rows of as many tiles together."""
    tiles = [end - begin for begin, end in pairwise(begins)]
    answers = out.new_zeros(len(tiles), *out.shape[1:])
    for count in {*tiles} - {0}:
        rows = [row for row, n in enumerate(tiles) if n == count]
        outs, tops = (torch.stack([t[begins[row] : begins[row] + count] for row in rows], dim=1) for t in (out, top))
        answers[rows] = Partial(outs, tops, torch.ones_like(tops)).merged().answer()
    return answers
