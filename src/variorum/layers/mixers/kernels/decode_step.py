"""One new token a row: kept, and attending to what is kept, in one call. For contexts that a cache of a core holds."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple
from weakref import ref

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from variorum.core import Held, VariorumError
from variorum.layers.mixers.kernels.decode_attention import decode_attention, decode_attention_naive, row_runs
from variorum.layers.mixers.kernels.token_code import Heads, TokenCode
from variorum.layers.native.machine_code import bits
from variorum.layers.native.writer import LOG2E, Writer

_CALL = ("q", "key", "value", "keys", "values", "pages", "lengths", "answer", "room", "scale", "batch", "longest",
         "most", "page", "q_row", "key_row", "key_head", "value_row", "value_head", "keys_token", "keys_head",
         "values_token", "values_head")  # fmt: skip
"""What a call tells: addresses, then numbers, then the bytes from a row, token or head to the next."""
_ADDRESSES = 9
"""The first so many of them are addresses."""
_Lies = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, strides and type of a tensor."""


class Table(NamedTuple):
    """Where rows lie in pages of ``size`` tokens: ``first[row, i]`` are the bytes from the first of the keys, and of
    the values, to those of the row's page ``i``.
    """

    first: Int64[Tensor, "rows pages 2"]
    size: int

    @classmethod
    def whole(cls, keys: Tensor, values: Tensor) -> "Table":
        """Of caches (batch, capacity, ...), in which each row is one page."""
        return cls(_whole(len(keys), *(t.stride(0) * t.element_size() for t in (keys, values))), keys.shape[1])


@lru_cache(maxsize=256)
def _whole(rows: int, *steps: int) -> Tensor:
    return torch.arange(rows)[:, None, None] * torch.tensor(steps)


def decode_step(
    q: Float[Tensor, "batch heads head_dim"],
    k_new: Float[Tensor, "batch kv_heads head_dim"],
    v_new: Float[Tensor, "batch kv_heads head_dim"],
    keys: Float[Tensor, "batch capacity kv_heads head_dim"],
    values: Float[Tensor, "batch capacity kv_heads head_dim"],
    lengths: Int[Tensor, " batch"],
    *,
    scale: float,
) -> Float[Tensor, "batch heads head_dim"]:
    """softmax(scale * q k^T) v over each row's first ``lengths`` + 1 places, the last of which is written here.

    q, k_new, v_new: such as slices of one matrix.     keys, values: caches, written in place at ``lengths``, which
    stays as it is. All are of one type; sums are float32.

    The kv heads of all rows lie end to end, each as long as its row, and a thread does an equal part of that: whole
    rows, as memory is read fastest, and at its ends a part of a row's heads. A row's single kv head is done by one
    thread, and all its scores are held at once, so for long contexts there is
    :func:`~variorum.layers.mixers.kernels.decode_attention.decode_attention`. A row's answer is the same, bit by bit,
    whatever the other rows and the threads. Forward only.

    Without machine code for these heads (:meth:`~variorum.layers.mixers.kernels.token_code.Heads.of`), or where a head
    does not lie in one piece, it is written by torch and answered by ``decode_attention``. Raises
    :class:`VariorumError` for shapes and types that do not fit, and where a cache is full; nothing is written then.
    """
    fits = _fits(*[(t.shape, t.stride(), t.dtype) for t in (q, k_new, v_new, keys, values, lengths)])
    told = _places(lengths, keys.shape[1])
    kind = Heads.of(q, keys)
    if kind is None or not told or not fits:
        _keep(k_new, v_new, keys, values, told)
        counts = [length + 1 for length in told]
        return decode_attention(q, row_runs(keys, counts), row_runs(values, counts), scale=scale)
    threads, longest = torch.get_num_threads(), max(told) + 1
    q, lengths = kind.asking(q), lengths.contiguous()
    answer = torch.empty(q.shape)
    room = torch.empty(threads, longest + 2, kind.line)
    first, size = Table.whole(keys, values)
    table = array("q", (
        q.data_ptr(), k_new.data_ptr(), v_new.data_ptr(), keys.data_ptr(), values.data_ptr(), first.data_ptr(),
        lengths.data_ptr(), answer.data_ptr(), room.data_ptr(), bits(scale * LOG2E), len(told), longest,
        first.shape[1], size, q.stride(0) * q.element_size(), *fits,
    ))  # fmt: skip
    _kernel(kind)(table.buffer_info()[0], threads)
    return answer.to(keys.dtype) if kind.short else answer


class BoundStep:
    """:func:`decode_step` of float32 for tensors that stay where they are, as a link of a chain of kernels.

    q, k_new, v_new: (batch, heads, head_dim) and (batch, kv_heads, head_dim), each head in one piece.    answer: like
    q, contiguous. The caches may be others at each call (:meth:`place`, :meth:`place_pages`).
    """

    def __init__(self, q: Tensor, k_new: Tensor, v_new: Tensor, answer: Tensor, kind: Heads, *, scale: float) -> None:
        self.kernel, self._line, self._longest = _kernel(kind), kind.line, 0
        size = q.element_size()
        steps = [size * t.stride(axis) for t in (k_new, v_new) for axis in (0, 1)]
        self._new, self._known, self._most = k_new.shape, tuple[Any, ...](), 0
        told = {"q": q.data_ptr(), "key": k_new.data_ptr(), "value": v_new.data_ptr(), "answer": answer.data_ptr(),
                "scale": bits(scale * LOG2E), "batch": len(q), "q_row": size * q.stride(0),
                **dict(zip(("key_row", "key_head", "value_row", "value_head"), steps, strict=True))}  # fmt: skip
        self._call = array("q", [told.get(name, 0) for name in _CALL])
        self.table = array("q", [self._call.buffer_info()[0]])

    def place(self, keys: Tensor, values: Tensor, lengths: Tensor, longest: int, threads: int) -> None:
        """Caches (batch, capacity, kv_heads, head_dim), which lie alike, each head in one piece, and lengths (batch,)
        int64, contiguous, that the next call reads and writes; the largest of lengths + 1. What does not fit raises
        :class:`VariorumError`.
        """
        told = tuple((t.shape, t.stride(), t.dtype) for t in (keys, values, lengths))
        if told != self._known or longest > keys.shape[1]:
            self._check(keys, values, lengths, longest, keys.shape[:2])
            self._known, self._rows = told, Table.whole(keys, values)
        self._place(keys, values, self._rows, lengths, longest, threads)
        self._given, self._most = (ref(keys), ref(values), ref(lengths)), min(self._longest, keys.shape[1])

    def placed(self, keys: Tensor | Held, values: Tensor | Held, lengths: Tensor, longest: int) -> bool:
        """Were the same placed last, and is there room for so many tokens? Then there is nothing to place."""
        if longest > self._most:
            return False
        given = self._given
        return given[0]() is keys and given[1]() is values and given[2]() is lengths

    def place_pages(
        self, keys: Tensor, values: Tensor, table: Table, lengths: Tensor, longest: int, threads: int
    ) -> None:
        """The same for tokens (tokens, kv_heads, head_dim) of caches in pages, which lie alike."""
        rows, pages, _ = table.first.shape
        self._check(keys, values, lengths, longest, (rows, pages * table.size))
        self._place(keys, values, table, lengths, longest, threads)
        self._most = 0

    def _place(self, keys: Tensor, values: Tensor, table: Table, lengths: Tensor, longest: int, threads: int) -> None:
        if longest > self._longest:
            self._longest = 2 * longest
            self._room = torch.empty(threads, self._longest + 2, self._line)
        call, (token, head, _) = self._call, (keys.element_size() * step for step in keys.stride()[-3:])
        self._first = table.first
        call[3:7] = array("q", (keys.data_ptr(), values.data_ptr(), table.first.data_ptr(), lengths.data_ptr()))
        call[8], call[11] = self._room.data_ptr(), self._longest
        call[12:14] = array("q", (table.first.shape[1], table.size))
        call[19:23] = array("q", (token, head, token, head))

    def _check(self, keys: Tensor, values: Tensor, lengths: Tensor, longest: int, room: Sequence[int]) -> None:
        """keys, values: (..., kv_heads, head_dim).    room: rows, and tokens that each has room for."""
        fits = keys.shape[-2:] == self._new[1:] and keys.shape == values.shape and room[0] == self._new[0]
        alike = keys.stride() == values.stride() and keys.dtype == values.dtype == torch.float32
        whole = keys.stride(-1) == 1 and lengths.shape == self._new[:1] and lengths.dtype == torch.int64
        if not (fits and alike and whole and lengths.is_contiguous() and longest <= room[1]):
            raise VariorumError("decode step", expected=f"caches for new keys {tuple(self._new)} and {longest} tokens, "
                                "which lie alike, float32, and a length of each row",
                                found=f"{tuple(keys.shape)}, {tuple(values.shape)} of {keys.dtype}, lengths "
                                f"{tuple(lengths.shape)}", do="Pass the state that the layer gave.")  # fmt: skip


def decode_step_naive(
    q: Float[Tensor, "batch heads head_dim"],
    k_new: Float[Tensor, "batch kv_heads head_dim"],
    v_new: Float[Tensor, "batch kv_heads head_dim"],
    keys: Float[Tensor, "batch capacity kv_heads head_dim"],
    values: Float[Tensor, "batch capacity kv_heads head_dim"],
    lengths: Int[Tensor, " batch"],
    *,
    scale: float,
) -> Float[Tensor, "batch heads head_dim"]:
    """The twin of :func:`decode_step` that is read."""
    _fits(*[(t.shape, t.stride(), t.dtype) for t in (q, k_new, v_new, keys, values, lengths)])
    told = _places(lengths, keys.shape[1])
    _keep(k_new, v_new, keys, values, told)
    counts = [length + 1 for length in told]
    return decode_attention_naive(q, row_runs(keys, counts), row_runs(values, counts), scale=scale)


@lru_cache(maxsize=256)
def _fits(*told: _Lies) -> tuple[int, ...]:
    """Bytes to the next row and head of new keys and values, and to the next token and head of caches; nothing where
    their heads do not lie in one piece.
    """
    shapes, strides, types = zip(*told, strict=True)
    q, key, value, keys, values, lengths = shapes
    if (
        len(q) != 3 or len(keys) != 4 or values != keys or q[0] != keys[0] or q[2] != keys[3] or not keys[2]
        or q[1] % keys[2] or {key, value} != {(q[0], *keys[2:])} or lengths != q[:1] or len({*types[:5]}) > 1
        or types[5] is not torch.int64
    ):  # fmt: skip
        raise VariorumError(
            "decode_step", expected="one type; q (batch, heads, head_dim), new (batch, kv_heads, head_dim), caches "
            "(batch, capacity, kv_heads, head_dim), lengths (batch,) int64",
            found=f"{[tuple(shape) for shape in shapes]} of {types}", do="Pass one new token a row, and its caches.",
        )  # fmt: skip
    *kept, _ = strides[1:]
    if any(steps[-1] != 1 for steps in kept):
        return ()
    return tuple(step * types[0].itemsize for steps in kept for step in steps[-3:-1])


def _places(lengths: Tensor, capacity: int) -> list[int]:
    """Where new tokens go."""
    told: list[int] = lengths.tolist()
    if told and not 0 <= min(told) <= max(told) < capacity:
        raise VariorumError("decode_step: lengths", expected=f"a free place of the {capacity} that a cache has",
                            found=f"{min(told)} to {max(told)} in use", do="Make the caches longer.")  # fmt: skip
    return told


def _keep(k_new: Tensor, v_new: Tensor, keys: Tensor, values: Tensor, lengths: list[int]) -> None:
    for row, length in enumerate(lengths):
        keys[row, length], values[row, length] = k_new[row], v_new[row]


@cache
def _kernel(kind: Heads) -> Callable[..., Any]:
    """Does jobs (row, kv head), which count by their tokens: each thread what follows one another in memory."""
    w = Writer(["call"], threads=True)
    b, call = w.b, w.fields(w["call"], w.number(0), _CALL)
    place = {name: b.inttoptr(call[name], w.ptr) for name in _CALL[:_ADDRESSES]}
    scale = b.bitcast(b.trunc(call["scale"], w.i32), w.f32)
    code = TokenCode(w, kind)
    scores = w.at(place["room"], b.mul(w.thread, w.times(b.add(call["longest"], w.number(2)), 4 * kind.line)))
    spare = w.at(scores, w.times(call["longest"], 4 * kind.line))
    steps = {name: (call[f"{name}_token"], call[f"{name}_head"]) for name in ("keys", "values")}

    def tokens_of(row: Any) -> Any:
        return b.add(w.load(w.at(place["lengths"], w.times(row, 8)), w.i64), w.number(1))

    tokens, before = w.variable(w.number(0)), w.variable(w.number(0))
    with w.loop(0, call["batch"]) as row:
        tokens.set(b.add(tokens.get(), tokens_of(row)))
    share = w.shares(w.times(tokens.get(), kind.kv_heads))
    with w.loop(0, call["batch"]) as row:
        own = tokens_of(row)
        heads = low, high = tuple(_first(w, b.sub(end, before.get()), own, kind.kv_heads) for end in share)
        before.set(b.add(before.get(), w.times(own, kind.kv_heads)))
        with b.if_then(b.icmp_signed("<", low, high)):
            book = w.at(place["pages"], w.times(b.mul(row, call["most"]), 16))
            last, where = (divide(b.sub(own, w.number(1)), call["page"]) for divide in (b.sdiv, b.srem))
            more = b.icmp_signed("<", b.add(row, w.number(1)), call["batch"])
            behind = b.select(more, call["most"], last)

            def page(i: Any, name: str, book: Any = book) -> Any:
                beside = 8 * list(steps).index(name)
                return w.at(place[name], w.load(w.at(book, w.times(i, 16), beside), w.i64))

            def each_page(name: str, after: Any, page: Any = page, last: Any = last, own: Any = own) -> Iterator[Any]:
                """Writes once what is done with a page: gives its place, tokens and their scores, and what follows."""
                with w.loop(0, b.add(last, w.number(1))) as i:
                    first, goes_on = b.mul(i, call["page"]), b.icmp_signed("<", i, last)
                    count = b.select(goes_on, call["page"], b.sub(own, first))
                    next_ = page(b.select(goes_on, b.add(i, w.number(1)), last), name)
                    then = b.select(goes_on, next_, after), steps[name][0]
                    yield page(i, name), count, w.at(scores, w.times(first, 4 * kind.line)), then

            with w.loop(low, high) as head:
                for new, name in (("key", "keys"), ("value", "values")):
                    source = w.at(place[new], b.mul(row, call[f"{new}_row"]), b.mul(head, call[f"{new}_head"]))
                    at = w.at(page(last, name), b.mul(where, steps[name][0]), b.mul(head, steps[name][1]))
                    code.copy(source, at)
            sums = w.at(place["answer"], w.times(row, 4 * kind.count * kind.width))
            q = w.at(place["q"], b.mul(row, call["q_row"]))
            code.begin(heads, spare, sums)
            for at, count, into, then in each_page("keys", page(w.number(0), "values")):
                code.scores(q, at, steps["keys"], heads, count, into, then)
            code.tops(scores, scale, heads, own, spare)
            for at, count, into, then in each_page("values", page(behind, "keys")):
                code.weigh(into, scale, at, steps["values"], heads, count, spare, sums, then)
            code.settle(sums, heads)
            code.divide(sums, w.at(spare, 4 * kind.line), heads)
    return w.compiled()


def _first(w: Writer, at: Any, size: Any, count: int) -> Any:
    """Of ``count`` pieces of a size that lie end to end the first that does not begin before ``at``."""
    b = w.b
    whole = b.sdiv(b.add(at, b.sub(size, w.number(1))), size)
    whole = b.select(b.icmp_signed("<", at, w.number(0)), w.number(0), whole)
    return b.select(b.icmp_signed("<", whole, w.number(count)), whole, w.number(count))
