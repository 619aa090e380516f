"""What machine code does for one new token: scores of keys, their softmax, and the sum of values by it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Optional

import torch
from torch import Tensor

from variorum.layers.native.machine_code import available, machine
from variorum.layers.native.writer import Writer

_HELD = 16
"""Vectors of queries, or of sums, that are held in registers at once."""
_TOGETHER = 4
"""Keys whose products are summed up together, and tokens whose values are, where queries share them."""
_STRETCH = 8 * 1024
"""Bytes of values that a core's nearest cache holds beside all else: more tokens are taken together up to them."""
_AHEAD = 8 * 1024
"""Bytes by which memory is asked for what comes before it is read."""
_LINE = 64
"""Bytes that come from memory at once."""


@dataclass(frozen=True)
class Heads:
    """Of which kind heads are: ``queries`` of each of ``kv_heads`` kv heads, all ``width`` wide.

    short: keys and values are bfloat16, else float32.     lanes: numbers of a vector.     pairs: queries and weights
    are bfloat16 as well, for the machine multiplies pairs of such; else they are float32.
    """

    width: int
    kv_heads: int
    queries: int
    short: bool
    lanes: int
    pairs: bool = False

    @staticmethod
    def of(q: Tensor, kept: Tensor) -> Optional["Heads"]:
        """Of q (rows, heads, head_dim) and keys (..., kv_heads, head_dim); none without machine code for them.

        It is there for float32 and bfloat16, and heads whose width four divides.
        """
        return _heads(kept.shape[-1], kept.shape[-2], q.shape[1], kept.dtype) if kept.is_cpu else None

    @property
    def count(self) -> int:
        """Heads of queries."""
        return self.kv_heads * self.queries

    @property
    def line(self) -> int:
        """Numbers that the scores of a token take: of all heads, in whole vectors."""
        return -(-self.count // self.lanes) * self.lanes

    def asking(self, q: Tensor) -> Tensor:
        """The queries as code reads them, the heads of a row in one piece."""
        if not self.pairs and q.dtype is not torch.float32:
            q = q.detach().float()
        return q if q.stride()[1:] == (self.width, 1) else q.detach().contiguous()


@cache
def _heads(width: int, kv_heads: int, heads: int, dtype: torch.dtype) -> Heads | None:
    if dtype not in (torch.float32, torch.bfloat16) or width % 4 or not available():
        return None
    lanes = next(n for n in (16, 8, 4) if n <= machine().lanes and width % n == 0)
    short = dtype is torch.bfloat16
    pairs = short and lanes == 16 and width % 32 == 0 and machine().halves
    return Heads(width, kv_heads, heads // kv_heads, short, lanes, pairs)


class TokenCode:
    """Writes into a kernel what the queries of heads ``low`` to ``high`` (kv heads, not with it) do with tokens.

    Memory is read in the order in which it lies, all heads of a token before the next token, for a processor foresees
    no other: keys too, which queries of their own read at ``streams`` places at once, far from one another, for memory
    gives a core more there than at one; values unless queries share them, which are then taken for a few tokens at
    once. What comes is asked for ahead (:class:`_Ahead`), on from keys to values to the next keys. Queries and sums lie
    as (heads, width); scores and weights as (tokens, line). A number is made in the same order whatever the number of
    tokens of a call and the heads beside its own: so what is found does not hang on the runs in which tokens lie, nor
    on how work is shared out.
    """

    def __init__(self, w: Writer, heads: Heads) -> None:
        self.w, self.heads, self.lanes = w, heads, heads.lanes
        self.floats = w.ir.VectorType(w.f32, heads.lanes)
        self.vectors = heads.width // heads.lanes
        self.key_bytes = heads.width * (2 if heads.short else 4)
        self.query_bytes = heads.width * (2 if heads.pairs else 4)
        most = max(1, min(_TOGETHER, heads.lanes // heads.queries))
        self.streams = most if heads.queries == 1 and heads.kv_heads > 1 else 1
        self.keys_at_once = most if heads.kv_heads == 1 else 1
        self.heads_at_once = min(most // (self.streams * self.keys_at_once), heads.kv_heads)
        alone = heads.queries == 1 and heads.kv_heads > 1 and not heads.pairs
        together = max(_TOGETHER, min(16, _STRETCH // (heads.kv_heads * self.key_bytes)))
        self.values_at_once = 1 if alone else together // 2 * 2
        self._nothing = self._zeros() if heads.pairs else None

    def begin(self, heads: tuple[Any, Any], room: Any, sums: Any) -> None:
        """Of no tokens: the largest score and the total of all heads, a line each in ``room``, and the sums."""
        w, row = self.w, 4 * self.heads.queries * self.heads.width
        for query in self._vectors(heads):
            for i, value in enumerate((float("-inf"), 0.0)):
                w.store(w.splat(value, self.floats), w.at(room, w.times(query, 4), 4 * self.heads.line * i))
        low, high = (w.times(head, row) for head in heads)
        with w.loop(low, high, 4 * self.lanes) as i:
            w.store(w.splat(0.0, self.floats), w.at(sums, i))

    def scores(self, q: Any, keys: Any, steps: tuple[Any, Any], heads: tuple[Any, Any], count: Any, into: Any,
               then: tuple[Any, Any]) -> None:  # fmt: skip
        """q k^T of ``count`` tokens.

        steps: bytes from a token to the next and from a head to the next.     then: where what is read after them
        begins, and its bytes from a token to the next.
        """
        w, b = self.w, self.w.b
        last, many = b.sub(count, w.number(1)), self.heads_at_once
        each = b.sdiv(b.add(count, w.number(self.streams - 1)), w.number(self.streams))
        begins = [w.times(each, i) for i in range(self.streams)]
        aheads = [_Ahead(self, w.at(keys, b.mul(begin, steps[0])), steps, heads, each, then) for begin in begins]
        whole = b.sub(heads[1], b.srem(b.sub(heads[1], heads[0]), w.number(many)))
        with w.loop(0, each, self.keys_at_once) as first:
            tokens = [b.add(first, b.add(begin, w.number(i))) for begin in begins for i in range(self.keys_at_once)]
            tokens = [b.select(b.icmp_signed("<", token, last), token, last) for token in tokens]  # twice is no harm
            rows = [w.at(keys, b.mul(token, steps[0])) for token in tokens]
            outs = [w.at(into, w.times(token, 4 * self.heads.line)) for token in tokens]
            for low, high, block in ((heads[0], whole, many), (whole, heads[1], 1))[: 1 + (many > 1)]:
                with w.loop(low, high, block) as head:
                    for ahead in aheads:
                        ahead.ask(block * self.keys_at_once)
                    self._products(q, rows, steps[1], head, block, outs)

    def tops(self, scores: Any, scale: Any, heads: tuple[Any, Any], count: Any, room: Any) -> None:
        """Makes the largest of ``room`` those of scale s_j of ``count`` more tokens and of what it was."""
        w, by = self.w, self.w.splat(scale, self.floats)
        for query in self._vectors(heads):
            column, place = (w.at(base, w.times(query, 4)) for base in (scores, room))
            top = w.variable(w.load(place, self.floats))
            with w.loop(0, count) as token:
                score = w.load(w.at(column, w.times(token, 4 * self.heads.line)), self.floats)
                top.set(w.maximum(w.b.fmul(by, score), top.get()))
            w.store(top.get(), place)

    def weigh(self, scores: Any, scale: Any, values: Any, steps: tuple[Any, Any], heads: tuple[Any, Any], count: Any,
              room: Any, sums: Any, then: tuple[Any, Any]) -> None:  # fmt: skip
        """Adds 2^(scale s_j - top) times values of ``count`` tokens to ``sums``, and these weights to the totals.

        Weights are written in place of the scores. They are made a few tokens before they are used, so that memory
        goes on meanwhile. Until :meth:`settle` sums of pairs lie as they come.
        """
        w, b, queries = self.w, self.w.b, self.heads.queries
        block = max(n for n in range(1, queries + 1) if queries % n == 0 and (n == 1 or n * self.vectors <= _HELD))
        most = w.number(self.values_at_once)
        ahead = _Ahead(self, values, steps, heads, count, then)
        with w.loop(0, count, self.values_at_once) as first:
            left = b.sub(count, first)
            many = b.select(b.icmp_signed("<", left, most), left, most)
            row = w.at(values, b.mul(first, steps[0]))
            own = w.at(scores, w.times(first, 4 * self.heads.line))
            self._weights(own, scale, heads, many, room)
            with w.loop(*heads) as head:
                at, begin = w.at(row, b.mul(head, steps[1])), w.times(head, queries)
                with w.loop(begin, b.add(begin, w.number(queries)), block) as query:
                    ahead.ask(max(1, self.values_at_once * block // queries))
                    out = w.at(sums, w.times(query, 4 * self.heads.width))
                    self._add(w.at(own, w.times(query, 4)), at, steps[0], many, out, block)

    def settle(self, sums: Any, heads: tuple[Any, Any]) -> None:
        """Puts sums in their order."""
        w, size = self.w, 4 * self.lanes
        if self.heads.pairs:
            low, high = (w.times(head, 4 * self.heads.queries * self.heads.width) for head in heads)
            with w.loop(low, high, 2 * size) as i:
                places = [w.at(sums, i, size * j) for j in range(2)]
                found = [w.load(place, self.floats) for place in places]
                for j, place in enumerate(places):
                    w.store(w.b.shuffle_vector(*found, self._order(_unpacked(self.lanes, 4, j))), place)

    def divide(self, sums: Any, totals: Any, heads: tuple[Any, Any]) -> None:
        """Sums over totals, in their place."""
        w = self.w
        low, high = (w.times(head, self.heads.queries) for head in heads)
        with w.loop(low, high) as query:
            total = w.splat(w.load(w.at(totals, w.times(query, 4)), w.f32), self.floats)
            for j in range(self.vectors):
                at = w.at(sums, w.times(query, 4 * self.heads.width), 4 * self.lanes * j)
                w.store(w.b.fdiv(w.load(at, self.floats), total), at)

    def copy(self, source: Any, place: Any) -> None:
        """A head's numbers, as they are kept."""
        w = self.w
        kind = w.ir.VectorType(w.ir.IntType(16 if self.heads.short else 32), self.lanes)
        for byte in range(0, self.key_bytes, self.key_bytes // self.vectors):
            w.store(w.load(w.at(source, byte), kind), w.at(place, byte))

    def _vectors(self, heads: tuple[Any, Any]) -> Iterator[Any]:
        """Writes once what is done with each vector of a line that holds any of the heads: gives its first query.

        What else such a vector holds may be anything, and is not looked at.
        """
        w = self.w
        low, high = (w.times(head, self.heads.queries) for head in heads)
        with w.loop(w.times(w.b.sdiv(low, w.number(self.lanes)), self.lanes), high, self.lanes) as query:
            yield query

    def _weights(self, scores: Any, scale: Any, heads: tuple[Any, Any], count: Any, room: Any) -> None:
        w, b, by, line = self.w, self.w.b, self.w.splat(scale, self.floats), 4 * self.heads.line
        for query in self._vectors(heads):
            column, place = (w.at(base, w.times(query, 4)) for base in (scores, room))
            top, total = w.load(place, self.floats), w.variable(w.load(w.at(place, line), self.floats))

            def weight(at: Any, top: Any = top) -> Any:
                terms = 3 if self.heads.pairs else 5  # what is then rounded to bfloat16 needs no more
                return w.exp2(b.fsub(b.fmul(by, w.load(at, self.floats)), top), terms=terms)

            with w.loop(0, count, 2 if self.heads.pairs else 1) as token:
                at = w.at(column, w.times(token, line))
                if self.heads.pairs:
                    second = b.icmp_signed("<", b.add(token, w.number(1)), count)
                    none = w.splat(0.0, self.floats)
                    found = [self._rounded(weight(at)), self._rounded(b.select(second, weight(w.at(at, line)), none))]
                    w.store(b.or_(found[0], b.lshr(found[1], w.splat(16, w.ints))), at)
                    own = [b.bitcast(one, self.floats) for one in found]
                else:
                    own = [weight(at)]
                    w.store(own[0], at)
                for one in own:
                    total.set(b.fadd(total.get(), one))
            w.store(total.get(), w.at(place, line))

    def _rounded(self, value: Any) -> Any:
        """A vector of floats as bfloat16, in the upper halves of numbers of 32 bits."""
        return self.w.b.shl(self.w.b.zext(self.w.halved(value), self.w.ints), self.w.splat(16, self.w.ints))

    def _add(self, weights: Any, values: Any, step: Any, many: Any, out: Any, block: int) -> None:
        w = self.w
        places = [w.at(out, 4 * (self.heads.width * i + self.lanes * j))
                  for i in range(block) for j in range(self.vectors)]  # fmt: skip
        sums = [w.variable(w.load(place, self.floats)) for place in places]
        multiply, kind = (w.dot_of_pairs, w.i32) if self.heads.pairs else (_multiply(w), w.f32)
        with w.loop(0, many, 2 if self.heads.pairs else 1) as token:
            value = (
                self._paired(values, step, token, many)
                if self.heads.pairs
                else self._numbers(w.at(values, w.b.mul(token, step)), short=self.heads.short)
            )
            here = w.at(weights, w.times(token, 4 * self.heads.line))
            for i in range(block):
                weight = w.splat(w.load(w.at(here, 4 * i), kind), value[0].type)
                for j, number in enumerate(value):
                    own = sums[i * self.vectors + j]
                    own.set(multiply(own.get(), weight, number))
        for place, own in zip(places, sums, strict=True):
            w.store(own.get(), place)

    def _paired(self, values: Any, step: Any, token: Any, many: Any) -> list[Any]:
        """Numbers of a token beside those of the next, of the last beside zeros.

        A machine adds the product of the upper halves first, as one token after another would be.
        """
        w, b, halves = self.w, self.w.b, self.w.ir.VectorType(self.w.ir.IntType(16), 2 * self.lanes)
        next_ = b.add(token, w.number(1))
        first = w.at(values, b.mul(token, step))
        second = b.select(b.icmp_signed("<", next_, many), w.at(values, b.mul(next_, step)), self._nothing)
        found = []
        for byte in range(0, self.key_bytes, 4 * self.lanes):
            pair = [w.load(w.at(place, byte), halves) for place in (second, first)]
            found += [b.bitcast(b.shuffle_vector(*pair, self._order(_packed(2 * self.lanes, 4, j))), w.ints)
                      for j in range(2)]  # fmt: skip
        return found

    def _order(self, places: list[int]) -> Any:
        return self.w.ir.Constant(self.w.ir.VectorType(self.w.i32, len(places)), places)

    def _zeros(self) -> Any:
        """A head of nothing."""
        w = self.w
        place = w.room(self.key_bytes)
        for byte in range(0, self.key_bytes, 4 * self.lanes):
            w.store(w.splat(0, w.ints), w.at(place, byte))
        return place

    def _products(self, q: Any, rows: list[Any], step: Any, head: Any, block: int, outs: list[Any]) -> None:
        """Writes the products of the keys of a few tokens, or of a few heads of one, with their queries."""
        w, queries = self.w, self.heads.queries
        heads = [w.b.add(head, w.number(i)) for i in range(block)]
        for low in range(0, queries, self.lanes):
            many = min(self.lanes, queries - low)
            sums = self._folded([
                self._product(query, key)
                for row in rows
                for one in heads
                for key in [self._factors(w.at(row, w.b.mul(one, step)), short=self.heads.short)]
                for query in self._queries(q, one, low, many)
            ])  # fmt: skip
            for i, out in enumerate(outs):
                own = w.ir.Constant(
                    w.ir.VectorType(w.i32, block * many), [block * many * i + j for j in range(block * many)]
                )
                w.store(w.b.shuffle_vector(sums, sums, own), w.at(out, w.times(head, 4 * queries), 4 * low))

    def _queries(self, q: Any, head: Any, low: int, many: int) -> list[list[Any]]:
        """Queries of a kv head from number ``low`` on."""
        own = self.w.at(q, self.w.times(head, self.heads.queries * self.query_bytes))
        return [self._factors(self.w.at(own, self.query_bytes * (low + i)), short=False) for i in range(many)]

    def _product(self, query: list[Any], key: list[Any]) -> Any:
        """The products of pairs of numbers, added up until a vector of them is left."""
        w, product = self.w, self.w.splat(0.0, self.floats)
        for one, other in zip(query, key, strict=True):
            product = w.dot_of_pairs(product, one, other) if self.heads.pairs else w.fma(one, other, product)
        return product

    def _numbers(self, place: Any, *, short: bool) -> list[Any]:
        """The numbers of a head at a place, as vectors of floats."""
        w = self.w
        if short:
            return [w.load_half(w.at(place, 2 * self.lanes * j), self.lanes) for j in range(self.vectors)]
        return [w.load(w.at(place, 4 * self.lanes * j), self.floats) for j in range(self.vectors)]

    def _factors(self, place: Any, *, short: bool) -> list[Any]:
        """The same as they are multiplied with each other: in pairs where the machine does that."""
        if not self.heads.pairs:
            return self._numbers(place, short=short)
        return [self.w.load(self.w.at(place, 4 * self.lanes * j), self.w.ints) for j in range(self.vectors // 2)]

    def _folded(self, parts: list[Any]) -> Any:
        """The sums of the numbers of each vector, one after another, each by halves."""
        size = self.lanes
        while size > 1:
            pairs = [(parts[i], parts[min(i + 1, len(parts) - 1)]) for i in range(0, len(parts), 2)]
            parts = [self._halved(a, b, size) for a, b in pairs]
            size //= 2
        return parts[0]

    def _halved(self, a: Any, b: Any, size: int) -> Any:
        """Of two vectors in pieces of ``size`` numbers: all pieces, with the halves of each added."""
        low = [start + i for start in range(0, 2 * self.lanes, size) for i in range(size // 2)]
        kind = self.w.ir.VectorType(self.w.i32, self.lanes)
        orders = (self.w.ir.Constant(kind, [i + half for i in low]) for half in (0, size // 2))
        return self.w.b.fadd(*(self.w.b.shuffle_vector(a, b, order) for order in orders))


def _multiply(w: Writer) -> Callable[[Any, Any, Any], Any]:
    return lambda total, a, b: w.fma(a, b, total)


def _packed(count: int, size: int, half: int) -> list[int]:
    """Of two vectors of ``count`` numbers the lower or upper halves of pieces of twice ``size``, a number of each in
    turn: what processors do in one step.
    """
    starts = range(size * half, count, 2 * size)
    return [i + which for start in starts for i in range(start, start + size) for which in (0, count)]


def _unpacked(count: int, size: int, half: int) -> list[int]:
    """What puts the numbers of both halves back in their order; gives the first or the second ``count`` of them."""
    order = [i + k for j in range(2) for i in range(size * j, 2 * count, 2 * size) for k in range(size)]
    return [order.index(i) for i in range(count * half, count * (half + 1))]


class _Ahead:
    """Asks memory for the heads that come ``_AHEAD`` bytes after those that are read, in their order.

    Where the tokens end it goes on with those of ``then``.
    """

    def __init__(self, code: TokenCode, place: Any, steps: tuple[Any, Any], heads: tuple[Any, Any], count: Any,
                 then: tuple[Any, Any]) -> None:  # fmt: skip
        w, b = code.w, code.w.b
        self._w, self._bytes, self._heads, self._then, self._by = w, code.key_bytes, heads, then, steps[1]
        size = w.times(b.sub(heads[1], heads[0]), code.key_bytes)
        tokens = b.add(b.sdiv(w.number(_AHEAD), size), w.number(1))
        left = b.sub(count, tokens)
        within = b.icmp_signed(">", left, w.number(0))
        self._row = w.variable(b.select(within, w.at(place, b.mul(tokens, steps[0])), then[0]))
        self._step = w.variable(b.select(within, steps[0], then[1]))
        self._left, self._head = w.variable(left), w.variable(heads[0])

    def ask(self, heads: int) -> None:
        """The next so many."""
        w, b = self._w, self._w.b
        for _ in range(heads):
            place = w.at(self._row.get(), b.mul(self._head.get(), self._by))
            for byte in range(0, self._bytes, _LINE):
                w.prefetch(w.at(place, byte))
            self._head.set(b.add(self._head.get(), w.number(1)))
            with b.if_then(b.icmp_signed("==", self._head.get(), self._heads[1])):
                self._next()

    def _next(self) -> None:
        """The next token."""
        w, b = self._w, self._w.b
        self._head.set(self._heads[0])
        self._left.set(b.sub(self._left.get(), w.number(1)))
        over = b.icmp_signed("==", self._left.get(), w.number(0))
        self._row.set(b.select(over, self._then[0], w.at(self._row.get(), self._step.get())))
        self._step.set(b.select(over, self._then[1], self._step.get()))
