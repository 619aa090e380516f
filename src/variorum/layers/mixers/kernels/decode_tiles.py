"""Shares of tiles in machine code: all of them in one call, in torch's own threads; and merging what they find."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.stream_k import Piece
from variorum.layers.mixers.kernels.token_code import Heads, TokenCode
from variorum.layers.native.machine_code import bits
from variorum.layers.native.writer import LOG2E, Writer

_PIECE = ("row", "tile", "low", "high", "first", "last", "tokens", "run")
"""Of a piece: its row and the row's first tile of all; heads, tiles and the row's tokens; the run it begins in."""
_RUN = ("keys", "values", "key", "key_head", "value", "value_head", "first", "last")
"""Of a run: two addresses, bytes from a token to the next and from a head to the next in both, and its tokens."""


def attend_tiles(
    q: Tensor,
    keys: Sequence[Sequence[Tensor]],
    values: Sequence[Sequence[Tensor]],
    cut: Sequence[Sequence[Piece]],
    tiles: Sequence[int],
    kind: Heads,
    *,
    scale: float,
    tile: int,
) -> Tensor:
    """What queries (rows, heads, head_dim) see of the runs of keys and values of each row; float32.

    cut: the pieces of each share.     tiles: how many each row has, of ``tile`` keys.
    A tile's keys are read as they lie, all heads of a token together, then its values; all queries of a kv head are
    answered at once, so that nothing is read twice. A share is done by one thread; what is found of a tile is written
    down, and a head's tiles are merged in their order.
    """
    rows, threads, begins = len(q), torch.get_num_threads(), [0, *accumulate(tiles)]
    keys, values = ([[run if run.stride(2) == 1 else run.contiguous() for run in row] for row in side]
                    for side in (keys, values))  # fmt: skip
    runs, pieces, bounds = _tables(keys, values, cut, begins, tile, 2 if kind.short else 4)
    asked = kind.asking(q)
    answer = torch.empty(rows, kind.count, kind.width)
    sums = torch.empty(begins[-1], kind.count, kind.width)
    parts = torch.empty(begins[-1], kind.count, 2)
    room = torch.empty(threads, tile + 2, kind.line)
    told = array("q", begins)
    _kernel(kind)(
        *(t.buffer_info()[0] for t in (runs, pieces, bounds, told)),
        *(t.data_ptr() for t in (asked, sums, parts, room, answer)),
        bits(scale * LOG2E), asked.stride(0) * asked.element_size(), len(cut), tile, rows, threads,
    )  # fmt: skip
    return answer


def _tables(keys: Sequence[Sequence[Tensor]], values: Sequence[Sequence[Tensor]], cut: Sequence[Sequence[Piece]],
            begins: Sequence[int], tile: int, size: int) -> tuple["array[int]", ...]:  # fmt: skip
    """The runs, the pieces, and where the pieces of each share begin: as the kernel reads them."""
    runs, starts, before = array("q"), [], [0]
    for own in zip(keys, values, strict=True):
        first, begun = 0, []
        for k, v in zip(*own, strict=True):
            if count := k.shape[0]:
                begun.append(first)
                (key, key_head, _), (value, value_head, _) = k.stride(), v.stride()
                runs.extend((k.data_ptr(), v.data_ptr(), size * key, size * key_head, size * value, size * value_head,
                             first, first + count))  # fmt: skip
                first += count
        starts.append((begun, first))
        before.append(before[-1] + len(begun))
    pieces, bounds = array("q"), array("q", [0])
    for share in cut:
        for row, low, high, first, last in share:
            begun, tokens = starts[row]
            run = before[row] + bisect_right(begun, first * tile) - 1
            pieces.extend((row, begins[row], low, high, first, last, tokens, run))
        bounds.append(bounds[-1] + len(share))
    return runs, pieces, bounds


@cache
def _kernel(kind: Heads) -> Callable[..., Any]:
    """What attends to all tiles, and then merges them."""
    return _Attend(kind).compiled()


class _Attend:
    """The kernel that does shares: each piece tile by tile, first all scores, then the sums of values."""

    def __init__(self, kind: Heads) -> None:
        names = ("runs", "pieces", "bounds", "begins", "q", "sums", "parts", "room", "answer"), (
            "scale", "row", "shares", "tile", "rows")  # fmt: skip
        w = self.w = Writer(*names, threads=True)
        self.kind, self.code = kind, TokenCode(w, kind)
        self.compiled = w.compiled
        self.scale = w.b.bitcast(w.b.trunc(w["scale"], w.i32), w.f32)
        own = w.times(w.b.add(w["tile"], w.number(2)), 4 * kind.line)
        self.room = w.at(w["room"], w.b.mul(w.thread, own))
        first, last = w.shares(w["shares"])
        with w.loop(first, last) as share:
            bounds = [w.load(w.at(w["bounds"], w.times(share, 8), 8 * i), w.i64) for i in range(2)]
            with w.loop(*bounds) as piece:
                self._piece(w.fields(w["pieces"], piece, _PIECE))
        w.barrier()
        self._merge()

    def _piece(self, piece: dict[str, Any]) -> None:
        w, b, code = self.w, self.w.b, self.code
        run = w.variable(piece["run"])
        heads = piece["low"], piece["high"]
        q = w.at(w["q"], b.mul(piece["row"], w["row"]))
        line, spare = 4 * self.kind.line, w.at(self.room, w.times(w["tile"], 4 * self.kind.line))
        with w.loop(piece["first"], piece["last"]) as tile:
            begin = b.mul(tile, w["tile"])
            whole = b.add(begin, w["tile"])
            end = b.select(b.icmp_signed("<", whole, piece["tokens"]), whole, piece["tokens"])
            place = w.times(b.add(piece["tile"], tile), self.kind.count)
            sums = w.at(w["sums"], w.times(place, 4 * self.kind.width))
            first = run.get()
            code.begin(heads, spare, sums)
            for at, keys, values, many in self._runs(run, begin, end):
                into = w.at(self.room, w.times(b.sub(at, begin), line))
                code.scores(q, keys[0], keys[1:], heads, many, into, values[:2])
            code.tops(self.room, self.scale, heads, b.sub(end, begin), spare)
            run.set(first)
            for at, keys, values, many in self._runs(run, begin, end):
                scores = w.at(self.room, w.times(b.sub(at, begin), line))
                after = w.at(keys[0], b.mul(many, keys[1])), keys[1]
                code.weigh(scores, self.scale, values[0], values[1:], heads, many, spare, sums, after)
            code.settle(sums, heads)
            self._told(spare, heads, w.at(w["parts"], w.times(place, 8)))

    def _runs(self, run: Any, begin: Any, end: Any) -> Iterator[tuple[Any, tuple[Any, ...], tuple[Any, ...], Any]]:
        """Writes once what is done with each stretch of a tile that lies in one run: gives its first token, where its
        keys and values lie with their steps, and how many they are.
        """
        w, b = self.w, self.w.b
        at = w.variable(begin)
        with w.during(lambda: b.icmp_signed("<", at.get(), end)):
            own, now = w.fields(w["runs"], run.get(), _RUN), at.get()
            stop = b.select(b.icmp_signed("<", own["last"], end), own["last"], end)
            before = b.sub(now, own["first"])
            keys, values = (
                (w.at(b.inttoptr(own[f"{what}s"], w.ptr), b.mul(before, own[what])), own[what], own[f"{what}_head"])
                for what in ("key", "value")
            )
            yield now, keys, values, b.sub(stop, now)
            run.set(b.add(run.get(), b.zext(b.icmp_signed("==", stop, own["last"]), w.i64)))
            at.set(stop)

    def _told(self, spare: Any, heads: tuple[Any, Any], parts: Any) -> None:
        """Copies the largest score and the total of each head of a piece, beside each other."""
        w = self.w
        with w.loop(*(w.times(head, self.kind.queries) for head in heads)) as query:
            for i in range(2):
                found = w.load(w.at(spare, w.times(query, 4), 4 * self.kind.line * i), w.f32)
                w.store(found, w.at(parts, w.times(query, 8), 4 * i))

    def _merge(self) -> None:
        """Merges the tiles of every head of a row, which begin where ``begins`` tells: O / l, 0 of no tiles."""
        w, b, code, kind, row_bytes = self.w, self.w.b, self.code, self.kind, 4 * self.kind.width
        first, last = w.shares(w.times(w["rows"], kind.count))
        with w.loop(first, last) as job:
            head, row = (do(job, w.number(kind.count)) for do in (b.srem, b.sdiv))
            begin, end = (w.load(w.at(w["begins"], w.times(row, 8), 8 * i), w.i64) for i in range(2))
            top = w.variable(w.ir.Constant(w.f32, float("-inf")))
            with w.loop(begin, end) as tile:
                place = b.add(w.times(tile, kind.count), head)
                top.set(w.maximum(w.load(w.at(w["parts"], w.times(place, 8)), w.f32), top.get()))
            total, *sums = (w.variable(w.splat(0.0, code.floats)) for _ in range(1 + code.vectors))
            with w.loop(begin, end) as tile:
                place = b.add(w.times(tile, kind.count), head)
                part = w.at(w["parts"], w.times(place, 8))
                weight = w.exp2(w.splat(b.fsub(w.load(part, w.f32), top.get()), code.floats))
                total.set(w.fma(weight, w.splat(w.load(w.at(part, 4), w.f32), code.floats), total.get()))
                for j, own in enumerate(sums):
                    at = w.at(w["sums"], w.times(place, row_bytes), 4 * code.lanes * j)
                    own.set(w.fma(weight, w.load(at, code.floats), own.get()))
            none = b.icmp_signed("==", begin, end)
            for j, own in enumerate(sums):
                answer = b.select(none, w.splat(0.0, code.floats), b.fdiv(own.get(), total.get()))
                w.store(answer, w.at(w["answer"], w.times(job, row_bytes), 4 * code.lanes * j))
