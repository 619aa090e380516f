"""Queries and keys as they are compared, in one pass of machine code: each head normalised, then turned in place."""

from array import array
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor

from variorum.layers.native.machine_code import bits
from variorum.layers.native.moments import moments
from variorum.layers.native.writer import Writer


class Places(NamedTuple):
    """What is done to heads, ``queries`` of queries and then ``keys`` of keys, all ``width`` numbers wide.

    turned: channel pairs that turn.     eps: of the norm before that; None without one.     centred: is the mean taken
    off first?
    """

    queries: int
    keys: int
    width: int
    turned: int = 0
    eps: float | None = None
    centred: bool = False


class BoundPlaces:
    """y = size * turn(gain * (x - mean) / sqrt(mean((x - mean)^2) + eps) + shift), of heads where they lie, in float32.

    The pairs (i, i + turned) of a head turn by the angle position * frequency_i. A link of a chain of kernels, of
    tensors that stay where they are:
    rows: (rows, heads, width), contiguous, of which the first ``queries + keys`` heads are changed.
    gains, shifts: (2, width) of queries and of keys.     frequency: (turned,).
    """

    def __init__(
        self,
        kind: Places,
        rows: Float[Tensor, "rows heads width"],
        gains: Float[Tensor, "2 width"],
        shifts: Float[Tensor, "2 width"],
        frequency: Float[Tensor, "turned"],
        *,
        size: float = 1.0,
    ) -> None:
        self._held = gains, shifts, frequency
        self.kernel = _kernel(kind)
        self.table = array("q", (rows.data_ptr(), 0, *(t.data_ptr() for t in self._held), len(rows),
                                 4 * rows.stride(0), bits(size)))  # fmt: skip

    def place(self, positions: Int64[Tensor, "rows"]) -> None:
        """Where each row stands in the next call: contiguous, and kept until then."""
        self.table[1] = positions.data_ptr()


@cache
def _kernel(kind: Places) -> Callable[..., Any]:
    w = Writer(["x", "positions", "gains", "shifts", "frequency"], ["rows", "row", "size"], threads=True)
    code = _Code(w, kind)
    first, last = w.shares(w["rows"])
    with w.loop(first, last) as row:
        x = w.at(w["x"], w.b.mul(row, w["row"]))
        code.look(w.load(w.at(w["positions"], w.times(row, 8)), w.i64))
        for which, (low, high) in enumerate(((0, kind.queries), (kind.queries, kind.queries + kind.keys))):
            with w.loop(low, high) as head:
                code.head(w.at(x, w.times(head, 4 * kind.width)), which)
    return w.compiled()


class _Code:
    """Writes what is done to a row's heads."""

    def __init__(self, w: Writer, kind: Places) -> None:
        self.w, self.kind = w, kind
        self.lanes = next(n for n in (16, 8, 4, 2, 1) if n <= w.lanes and not (kind.width % n or kind.turned % n))
        self.floats = w.ir.VectorType(w.f32, self.lanes)
        self.size = w.splat(w.b.bitcast(w.b.trunc(w["size"], w.i32), w.f32), self.floats)
        self.cosines, self.sines = (w.room(4 * max(kind.turned, 1)) for _ in range(2))

    def look(self, position: Any) -> None:
        """Cosines and sines of a position."""
        w, b = self.w, self.w.b
        where = w.splat(b.sitofp(position, w.f32), self.floats)
        with w.loop(0, 4 * self.kind.turned, 4 * self.lanes) as at:
            frequency = w.load(w.at(w["frequency"], at), self.floats)
            for value, to in zip(w.cosine_and_sine(b.fmul(where, frequency)), (self.cosines, self.sines), strict=True):
                w.store(value, w.at(to, at))

    def head(self, x: Any, which: int) -> None:
        """One head, of queries (0) or keys (1)."""
        w, b, half = self.w, self.w.b, 4 * self.kind.turned
        if self.kind.eps is not None:
            self._normalise(x, which, self.kind.eps)
        with w.loop(0, half, 4 * self.lanes) as at:
            low, high = (w.load(w.at(x, at, step), self.floats) for step in (0, half))
            cosine, sine = (w.load(w.at(t, at), self.floats) for t in (self.cosines, self.sines))
            w.store(self._sized(b.fsub(b.fmul(low, cosine), b.fmul(high, sine))), w.at(x, at))
            w.store(self._sized(b.fadd(b.fmul(high, cosine), b.fmul(low, sine))), w.at(x, at, half))
        with w.loop(2 * half, 4 * self.kind.width, 4 * self.lanes) as at:
            w.store(self._sized(w.load(w.at(x, at), self.floats)), w.at(x, at))

    def _sized(self, value: Any) -> Any:
        return self.w.b.fmul(value, self.size)

    def _normalise(self, x: Any, which: int, eps: float) -> None:
        w, b, count = self.w, self.w.b, self.w.ir.Constant(self.w.f32, float(self.kind.width))
        found = moments(w, count, partial(self._fold, x), centred=self.kind.centred, eps=eps)
        mean, by = (w.splat(value, self.floats) for value in found)
        with w.loop(0, 4 * self.kind.width, 4 * self.lanes) as at:
            gain, shift = (w.load(w.at(w[name], at, 4 * self.kind.width * which), self.floats)
                           for name in ("gains", "shifts"))  # fmt: skip
            value = b.fmul(b.fsub(w.load(w.at(x, at), self.floats), mean), by)
            w.store(w.fma(value, gain, shift), w.at(x, at))

    def _fold(self, x: Any, add: Callable[[Any, Any], Any], _: Any) -> Any:
        w = self.w
        total = w.variable(w.splat(0.0, self.floats))
        with w.loop(0, 4 * self.kind.width, 4 * self.lanes) as at:
            total.set(add(total.get(), w.load(w.at(x, at), self.floats)))
        return w.total(total.get())
