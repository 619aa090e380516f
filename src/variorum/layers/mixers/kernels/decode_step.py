"""One new token a row: kept, and attending to what is kept, in one call. For contexts that a cache of a core holds."""

from array import array
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.mixers.kernels.decode_attention import decode_attention, decode_attention_naive, row_runs
from variorum.layers.mixers.kernels.token_code import Heads, TokenCode
from variorum.layers.native.machine_code import bits
from variorum.layers.native.writer import LOG2E, Writer

_CALL = ("q", "key", "value", "keys", "values", "lengths", "answer", "room", "scale", "batch", "longest", "q_row",
         "key_row", "key_head", "value_row", "value_head", "keys_row", "keys_token", "keys_head", "values_row",
         "values_token", "values_head")  # fmt: skip
"""What a call tells: addresses, then numbers, then the bytes from a row, token or head to the next."""
_Lies = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, strides and type of a tensor."""


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
    table = array("q", (
        q.data_ptr(), k_new.data_ptr(), v_new.data_ptr(), keys.data_ptr(), values.data_ptr(), lengths.data_ptr(),
        answer.data_ptr(), room.data_ptr(), bits(scale * LOG2E), len(told), longest,
        q.stride(0) * q.element_size(), *fits,
    ))  # fmt: skip
    _kernel(kind)(table.buffer_info()[0], threads)
    return answer.to(keys.dtype) if kind.short else answer


class BoundStep:
    """:func:`decode_step` of float32 for tensors that stay where they are, as a link of a chain of kernels.

    q, k_new, v_new: (batch, heads, head_dim) and (batch, kv_heads, head_dim), each head in one piece.    answer: like
    q, contiguous. The caches may be others at each call (:meth:`place`).
    """

    def __init__(self, q: Tensor, k_new: Tensor, v_new: Tensor, answer: Tensor, kind: Heads, *, scale: float) -> None:
        self.kernel, self._line, self._longest = _kernel(kind), kind.line, 0
        size = q.element_size()
        steps = [size * t.stride(axis) for t in (k_new, v_new) for axis in (0, 1)]
        self._new, self._known = k_new.shape, tuple[Any, ...]()
        self._call = array("q", [
            q.data_ptr(), k_new.data_ptr(), v_new.data_ptr(), 0, 0, 0, answer.data_ptr(), 0, bits(scale * LOG2E),
            len(q), 0, size * q.stride(0), *steps, *[0] * 6,
        ])  # fmt: skip
        self.table = array("q", [self._call.buffer_info()[0]])

    def place(self, keys: Tensor, values: Tensor, lengths: Tensor, longest: int, threads: int) -> None:
        """Caches (batch, capacity, kv_heads, head_dim), which lie alike, each head in one piece, and lengths (batch,)
        int64, contiguous, that the next call reads and writes; the largest of lengths + 1. What does not fit raises
        :class:`VariorumError`.
        """
        told = tuple((t.shape, t.stride(), t.dtype) for t in (keys, values, lengths))
        if told != self._known or longest > keys.shape[1]:
            self._check(keys, values, lengths, longest)
            self._known = told
        if longest > self._longest:
            self._longest = 2 * longest
            self._room = torch.empty(threads, self._longest + 2, self._line)
        call, size = self._call, keys.element_size()
        call[3:6] = array("q", (keys.data_ptr(), values.data_ptr(), lengths.data_ptr()))
        call[7], call[10] = self._room.data_ptr(), longest
        row, token, head, _ = (size * step for step in keys.stride())
        call[16:22] = array("q", (row, token, head, row, token, head))

    def _check(self, keys: Tensor, values: Tensor, lengths: Tensor, longest: int) -> None:
        fits = keys.shape[0::2] == self._new[0:2] and keys.shape[3] == self._new[2] and keys.shape == values.shape
        alike = keys.stride() == values.stride() and keys.dtype == values.dtype == torch.float32
        whole = keys.stride(3) == 1 and lengths.shape == self._new[:1] and lengths.dtype == torch.int64
        if not (fits and alike and whole and lengths.is_contiguous() and longest <= keys.shape[1]):
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
    """Bytes from a row, a token and a head to the next, of new keys, new values and both caches; nothing where their
    heads do not lie in one piece.
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
    return tuple(step * types[0].itemsize for steps in kept for step in steps[:-1])


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
    place = {name: b.inttoptr(call[name], w.ptr) for name in _CALL[:8]}
    scale = b.bitcast(b.trunc(call["scale"], w.i32), w.f32)
    code = TokenCode(w, kind)
    scores = w.at(place["room"], b.mul(w.thread, w.times(b.add(call["longest"], w.number(2)), 4 * kind.line)))
    spare = w.at(scores, w.times(call["longest"], 4 * kind.line))
    steps = {name: (call[f"{name}_token"], call[f"{name}_head"]) for name in ("keys", "values")}

    def count(row: Any) -> Any:
        return b.add(w.load(w.at(place["lengths"], w.times(row, 8)), w.i64), w.number(1))

    tokens, before = w.variable(w.number(0)), w.variable(w.number(0))
    with w.loop(0, call["batch"]) as row:
        tokens.set(b.add(tokens.get(), count(row)))
    share = w.shares(w.times(tokens.get(), kind.kv_heads))
    with w.loop(0, call["batch"]) as row:
        own = count(row)
        heads = low, high = tuple(_first(w, b.sub(end, before.get()), own, kind.kv_heads) for end in share)
        before.set(b.add(before.get(), w.times(own, kind.kv_heads)))
        with b.if_then(b.icmp_signed("<", low, high)):
            kept = {name: w.at(place[name], b.mul(row, call[f"{name}_row"])) for name in steps}
            with w.loop(low, high) as head:
                for new, name in (("key", "keys"), ("value", "values")):
                    source = w.at(place[new], b.mul(row, call[f"{new}_row"]), b.mul(head, call[f"{new}_head"]))
                    at = w.at(kept[name], b.mul(b.sub(own, w.number(1)), steps[name][0]), b.mul(head, steps[name][1]))
                    code.copy(source, at)
            sums = w.at(place["answer"], w.times(row, 4 * kind.count * kind.width))
            q = w.at(place["q"], b.mul(row, call["q_row"]))
            after = w.at(kept["keys"], call["keys_row"])
            code.begin(heads, spare, sums)
            code.scores(q, kept["keys"], steps["keys"], heads, own, scores, (kept["values"], steps["values"][0]))
            code.tops(scores, scale, heads, own, spare)
            code.weigh(scores, scale, kept["values"], steps["values"], heads, own, spare, sums,
                       (after, steps["keys"][0]))  # fmt: skip
            code.settle(sums, heads)
            code.divide(sums, w.at(spare, 4 * kind.line), heads)
    return w.compiled()


def _first(w: Writer, at: Any, size: Any, count: int) -> Any:
    """Of ``count`` pieces of a size that lie end to end the first that does not begin before ``at``."""
    b = w.b
    whole = b.sdiv(b.add(at, b.sub(size, w.number(1))), size)
    whole = b.select(b.icmp_signed("<", at, w.number(0)), w.number(0), whole)
    return b.select(b.icmp_signed("<", whole, w.number(count)), whole, w.number(count))
