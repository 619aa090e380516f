"""The machine code of a linear map: activations are turned into the product's numbers, multiplied, and finished.

Weights lie in blocks of two vectors of outputs, (blocks, source / group, 2 lanes, group), so that the kernel reads them
one after another, from memory at its full speed where there are few rows, from the cache where there are many. Those
that have a scale for each few inputs lie behind their scales.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from variorum.layers.channels.activation import Activation
from variorum.layers.native.moments import moments
from variorum.layers.native.writer import Variable, Writer

VECTORS, PANEL = 2, 64
"""Vectors of outputs that are summed at once, in registers; rows that are turned into the product's numbers at once."""
_WIDE, _TILES = 16, (8, 4)
"""From so many numbers in a vector on a processor has registers for the sums of eight rows, else of four."""
_AHEAD = 8192
"""Bytes that weights are asked for ahead of their use, where one tile of rows reads them; where several do, the next
block is asked for meanwhile."""
SCALED = 32
"""Inputs that share a scale where there is one for each group."""
_BY_ROWS = 128
"""From so many rows on threads share out the rows, not the outputs."""
_LEAST = 1e-30
"""What the largest of a few numbers is at least taken to be, so that it divides."""
_ERF, _ERF_SUM = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Abramowitz & Stegun 1964, 7.1.26: the error function to 1.5e-7."""


class Numbers(StrEnum):
    """What is multiplied: float32; pairs of bfloat16; fours of integers of 8 bits, with a scale for each token and each
    output, or with one for each group of a token's numbers and of an output's weights.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8_GROUPED = "int8-grouped"
    INT8 = "int8"

    @property
    def group(self) -> int:
        """Inputs whose weights lie side by side, and which one instruction takes."""
        return {"float32": 1, "bfloat16": 2}.get(self.value, 4)

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return 4 // self.group


class Normed(NamedTuple):
    """A norm of each row: x / sqrt(mean(x^2) + eps), of x less its mean if ``centred``; times a gain for each input
    where the weights have not taken it in.
    """

    centred: bool
    eps: float
    gain: bool = False


class Form(NamedTuple):
    """What the kernel of a linear map does.    half_in, half_out: are activations, and answers, in bfloat16?
    residual: is something added to the answers, in their type?    gated: are outputs act(gate) * up, the first vector
    of each block gates and the second what they let through?
    """

    numbers: Numbers
    after: Activation = Activation.IDENTITY
    residual: bool = False
    half_in: bool = False
    half_out: bool = False
    norm: Normed | None = None
    gated: bool = False


FINISHED = (
    Activation.IDENTITY,
    Activation.RELU,
    Activation.SILU,
    Activation.SIGMOID,
    Activation.GELU,
    Activation.GELU_TANH,
)
"""Nonlinearities that the kernel applies itself."""


@cache
def product(form: Form) -> Any:
    """``product(x, weight, scale, totals, shift, gain, residual, out, rows, source, dim, threads)``, addresses first.

    x (rows, source), weight as above, source filled up to whole groups and dim to whole blocks; scale, totals and shift
    of all outputs in the blocks; gain (source in whole vectors); residual and out (rows, dim). Where each output has
    one scale that is what a weight stands for, and totals the sums of each output's weights; shift is the bias.
    """
    w = Writer(
        ["x", "weight", "scale", "totals", "shift", "gain", "residual", "out"], ["rows", "source", "dim"], threads=True
    )
    _Product(w, form).write()
    return w.compiled()


class _Product:
    """The code of :func:`product`."""

    def __init__(self, w: Writer, form: Form) -> None:
        self.w, self.form = w, form
        self.width = VECTORS * w.lanes
        self.outputs = w.lanes if form.gated else self.width
        group, b = form.numbers.group, w.b
        self.groups = b.sdiv(b.add(w["source"], w.number(group - 1)), w.number(group))
        self.blocks = b.sdiv(b.add(w["dim"], w.number(self.outputs - 1)), w.number(self.outputs))
        self.parts = b.sdiv(b.add(w["source"], w.number(SCALED - 1)), w.number(SCALED))
        self.part_bytes = (2 + SCALED) * self.width
        self.grouped = form.numbers is Numbers.INT8_GROUPED
        self.block_bytes = w.times(*((self.parts, self.part_bytes) if self.grouped else (self.groups, 4 * self.width)))
        self.x_bytes, self.out_bytes = (w.times(w[n], 2 if half else 4)
                                        for n, half in (("source", form.half_in), ("dim", form.half_out)))  # fmt: skip
        self.tile = _TILES[0] if w.lanes >= _WIDE and not self.grouped else _TILES[1]
        self.turned = form.numbers is not Numbers.FLOAT32 or form.half_in or form.norm is not None
        self.tail = w.room(4 * self.width)
        if self.turned:
            self.row_bytes = w.times(self.parts, SCALED + 8) if self.grouped else w.times(self.groups, 4)
            self.panel = w.room(b.add(b.mul(self.row_bytes, w.number(PANEL)), w.number(64)))
            self.sizes, self.zeros = w.room(4 * PANEL), w.room(4 * PANEL)
        if form.norm is not None or self.grouped:
            self.line = w.room(b.add(w.times(self.parts, 4 * SCALED), w.number(64)))

    def write(self) -> None:
        w, b = self.w, self.w.b
        tall = b.icmp_signed(">=", w["rows"], w.number(_BY_ROWS))
        tiles = b.sdiv(b.add(w["rows"], w.number(self.tile - 1)), w.number(self.tile))
        row, row_end = (w.times(n, self.tile) for n in w.shares(tiles))
        block, block_end = w.shares(self.blocks)
        zero = w.number(0)
        row_end = b.select(b.icmp_signed("<", row_end, w["rows"]), row_end, w["rows"])
        row, row_end = b.select(tall, row, zero), b.select(tall, row_end, w["rows"])
        block, block_end = b.select(tall, zero, block), b.select(tall, self.blocks, block_end)
        with w.loop(row, row_end, PANEL) as first:
            left = b.sub(row_end, first)
            count = b.select(b.icmp_signed("<", left, w.number(PANEL)), left, w.number(PANEL))
            if self.turned:
                with w.loop(0, count) as i:
                    self._turn(b.add(first, i), i)
            one = b.icmp_signed("<=", count, w.number(self.tile))
            self.ahead = b.select(one, w.number(_AHEAD), self.block_bytes)
            with w.loop(block, block_end) as n:
                done = w.variable(zero)
                size = self.tile
                while size:
                    whole = b.sub(count, w.number(size - 1))
                    with w.loop(done.get(), whole, size) as i:
                        self._tile(first, i, n, size)
                        done.set(b.add(i, w.number(size)))
                    size //= 2

    # -- activations ---------------------------------------------------------------------------------------------------
    def _turn(self, row: Any, i: Any) -> None:
        """Row ``row`` as the product's numbers, at place ``i`` of the panel."""
        w, b = self.w, self.w.b
        x, half = w.at(w["x"], b.mul(row, self.x_bytes)), self.form.half_in
        to = w.at(self.panel, b.mul(i, self.row_bytes))
        if self.form.norm is not None:
            self._normalise(x, self.form.norm)
            x, half = self.line, False
        if self.grouped:
            self._round_groups(x, half, to)
        elif self.form.numbers is Numbers.INT8:
            self._round(x, half, to, *(w.at(each, w.times(i, 4)) for each in (self.sizes, self.zeros)))
        elif self.form.numbers is Numbers.BFLOAT16:
            self._each(x, half, lambda at, value: w.store(w.halved(value), w.at(to, w.times(at, 2))))
        else:
            self._each(x, half, lambda at, value: w.store(value, w.at(to, w.times(at, 4))))

    def _round(self, x: Any, half: bool, to: Any, size: Any, zero: Any) -> None:
        """round(x / size) + zero, of 0 to 255: size = (largest - smallest) / 255 and zero = round(-smallest / size),
        where 0 is among the numbers, so that it stays exact. One that is not finite makes the size NaN.
        """
        w, b = self.w, self.w.b
        low, high, bad = w.variable(w.splat(0.0)), w.variable(w.splat(_LEAST)), w.variable(w.splat(0.0))

        def look(_: Any, value: Any) -> None:
            bad.set(w.fma(value, w.splat(0.0), bad.get()))
            low.set(w.minimum(low.get(), value))
            high.set(w.maximum(high.get(), value))

        self._each(x, half, look)
        least = w.smallest(low.get())
        span, most = b.fsub(w.largest(high.get()), least), w.ir.Constant(w.f32, 255.0)
        w.store(b.fadd(b.fdiv(span, most), w.total(bad.get())), size)
        by = w.splat(b.fdiv(most, span))
        nought = w.rounded(b.fmul(w.splat(b.fneg(least)), by))
        w.store(b.extract_element(nought, w.ir.Constant(w.i32, 0)), zero)
        small, end = w.ir.VectorType(w.ir.IntType(8), w.lanes), w.splat(255, w.ints)

        def put(at: Any, value: Any) -> None:
            whole = b.add(w.rounded(b.fmul(value, by)), nought)
            whole = b.select(b.icmp_signed("<", whole, end), whole, end)
            w.store(b.trunc(whole, small), w.at(to, at))

        self._each(x, half, put)

    def _round_groups(self, x: Any, half: bool, to: Any) -> None:
        """q = round(x / size) of -127 to 127, size = max|x| / 127 of each group; behind them the sizes, and behind
        those -128 sum q of each group, for what lies in the weights' place is 128 more than they are.
        """
        w, b = self.w, self.w.b
        end, vectors = w.times(self.parts, 4 * SCALED), SCALED // w.lanes
        small, most = w.ir.VectorType(w.ir.IntType(8), w.lanes), w.ir.Constant(w.f32, 127.0)
        if self.form.norm is None:
            self._each(x, half, lambda at, value: w.store(value, w.at(self.line, w.times(at, 4))))
        with w.loop(w.times(w["source"], 4), end, 4) as at:
            w.store(w.ir.Constant(w.f32, 0.0), w.at(self.line, at))
        with w.loop(0, self.parts) as part:
            here = w.at(self.line, w.times(part, 4 * SCALED))
            values = [w.load(w.at(here, 4 * w.lanes * v)) for v in range(vectors)]
            top, bad = w.splat(_LEAST), w.splat(0.0)
            for value in values:
                top, bad = w.maximum(w.size(value), top), w.fma(value, w.splat(0.0), bad)
            largest = w.largest(top)
            by = w.splat(b.fdiv(most, largest))
            whole = [w.rounded(b.fmul(value, by)) for value in values]
            for v, value in enumerate(whole):
                w.store(b.trunc(value, small), w.at(to, w.times(part, SCALED), w.lanes * v))
            total = whole[0]
            for value in whole[1:]:
                total = b.add(total, value)
            sizes = w.at(to, w.times(self.parts, SCALED), w.times(part, 4))
            w.store(b.fadd(b.fdiv(largest, most), w.total(bad)), sizes)
            added = b.mul(w.whole_total(total), w.ir.Constant(w.i32, -128))
            w.store(added, w.at(sizes, w.times(self.parts, 4)))

    def _normalise(self, x: Any, norm: Normed) -> None:
        """The row, normalised, into ``line``."""
        w, b, half = self.w, self.w.b, self.form.half_in

        def fold(add: Callable[[Any, Any], Any], behind: Any) -> Any:
            total = w.variable(w.splat(0.0))
            self._each(x, half, lambda _, value: total.set(add(total.get(), value)), behind=w.splat(behind))
            return w.total(total.get())

        found = moments(w, b.sitofp(w["source"], w.f32), fold, centred=norm.centred, eps=norm.eps)
        mean, by = map(w.splat, found)

        def put(at: Any, value: Any) -> None:
            value, place = b.fmul(b.fsub(value, mean), by), w.times(at, 4)
            w.store(b.fmul(value, w.load(w.at(w["gain"], place))) if norm.gain else value, w.at(self.line, place))

        self._each(x, half, put)

    def _each(self, x: Any, half: bool, act: Callable[[Any, Any], None], *, behind: Any = None) -> None:
        """``act(place, vector of floats)`` for all of a row's numbers; in the last vector ``behind`` follows, or zeros.

        What it writes may reach behind the row's last group, into the next row's room, which is written later, or what
        is kept free behind the last.
        """
        w, b = self.w, self.w.b
        size = 2 if half else 4
        done = w.variable(w.number(0))
        with w.loop(0, b.sub(w["source"], w.number(w.lanes - 1)), w.lanes) as at:
            act(at, self._floats(w.at(x, w.times(at, size)), half))
            done.set(b.add(at, w.number(w.lanes)))
        rest = done.get()
        with b.if_then(b.icmp_signed("<", rest, w["source"])):
            nothing = w.splat(0.0) if behind is None else behind
            w.store(w.halved(nothing) if half else nothing, self.tail)
            with w.loop(rest, w["source"]) as at:
                kind = w.ir.IntType(8 * size)
                w.store(w.load(w.at(x, w.times(at, size)), kind), w.at(self.tail, w.times(b.sub(at, rest), size)))
            act(rest, self._floats(self.tail, half))

    # -- sums ----------------------------------------------------------------------------------------------------------
    def _tile(self, first: Any, i: Any, n: Any, rows: int) -> None:
        """``rows`` rows, from place ``i`` of the panel that begins at row ``first``, times block ``n``."""
        w, b, numbers = self.w, self.w.b, self.form.numbers
        weight = w.at(w["weight"], b.mul(n, self.block_bytes))
        xs = [self._row(first, b.add(i, w.number(r))) for r in range(rows)]
        nothing = w.splat(0, w.ints) if numbers is Numbers.INT8 else w.splat(0.0)
        sums = [[w.variable(nothing) for _ in range(VECTORS)] for _ in range(rows)]
        if self.grouped:
            self._grouped_sums(xs, weight, sums)
        else:
            self._sums(xs, weight, sums)
        for r, row in enumerate(sums):
            self._finish(first, b.add(i, w.number(r)), n, row)

    def _sums(self, xs: list[Any], weight: Any, sums: list[list[Variable]]) -> None:
        """Adds to ``sums`` of each row and vector of outputs the products of all inputs with a block's weights."""
        w, kind = self.w, self.w.floats if self.form.numbers is Numbers.FLOAT32 else self.w.ints
        with w.loop(0, self.groups) as k:
            here = w.at(weight, w.times(k, 4 * self.width))
            for line in range(0, 4 * self.width, 64):
                w.prefetch(w.at(here, self.ahead, line))
            weights = [w.load(w.at(here, 4 * w.lanes * v), kind) for v in range(VECTORS)]
            for x, row in zip(xs, sums, strict=True):
                one = w.splat(w.load(w.at(x, w.times(k, 4)), kind.element), kind)
                for total, each in zip(row, weights, strict=True):
                    total.set(self._added(total.get(), one, each))

    def _grouped_sums(self, xs: list[Any], weight: Any, sums: list[list[Variable]]) -> None:
        """As :meth:`_sums`, each group's sums of integers times the scales of its weights and of its numbers."""
        w, b = self.w, self.w.b
        halves = w.ir.VectorType(w.ir.HalfType(), w.lanes)
        sizes = w.times(self.parts, SCALED)
        with w.loop(0, self.parts) as part:
            here = w.at(weight, w.times(part, self.part_bytes))
            w.prefetch(w.at(here, self.ahead))
            scales = [b.fpext(w.load(w.at(here, 2 * w.lanes * v), halves), w.floats) for v in range(VECTORS)]
            size = [w.at(x, sizes, w.times(part, 4)) for x in xs]
            begins = [w.splat(w.load(w.at(each, w.times(self.parts, 4)), w.i32), w.ints) for each in size]
            whole = [[begin] * VECTORS for begin in begins]
            for four in range(SCALED // 4):
                at = w.at(here, 2 * self.width + 4 * self.width * four)
                for line in range(0, 4 * self.width, 64):
                    w.prefetch(w.at(at, self.ahead, line))
                weights = [w.load(w.at(at, 4 * w.lanes * v), w.ints) for v in range(VECTORS)]
                for r, x in enumerate(xs):
                    one = w.splat(w.load(w.at(x, w.times(part, SCALED), 4 * four), w.i32), w.ints)
                    whole[r] = [w.dot_of_fours(t, each, one) for t, each in zip(whole[r], weights, strict=True)]
            for r, row in enumerate(sums):
                by = w.splat(w.load(size[r], w.f32))
                for total, found, scale in zip(row, whole[r], scales, strict=True):
                    total.set(w.fma(b.sitofp(found, w.floats), b.fmul(scale, by), total.get()))

    def _row(self, first: Any, i: Any) -> Any:
        if self.turned:
            return self.w.at(self.panel, self.w.b.mul(i, self.row_bytes))
        return self.w.at(self.w["x"], self.w.b.mul(self.w.b.add(first, i), self.x_bytes))

    def _added(self, total: Any, x: Any, weight: Any) -> Any:
        w = self.w
        if self.form.numbers is Numbers.FLOAT32:
            return w.fma(x, weight, total)
        if self.form.numbers is Numbers.INT8:
            return w.dot_of_fours(total, x, weight)
        return w.dot_of_pairs(total, x, weight)

    # -- answers -------------------------------------------------------------------------------------------------------
    def _finish(self, first: Any, i: Any, n: Any, sums: list[Variable]) -> None:
        w, b = self.w, self.w.b
        row, size = b.add(first, i), 2 if self.form.half_out else 4
        place = w.times(n, self.outputs)
        out = w.at(w["out"], b.mul(row, self.out_bytes), w.times(place, size))
        residual = w.at(w["residual"], b.mul(row, self.out_bytes), w.times(place, size))
        made = [self._answer(v, i, n, found.get()) for v, found in enumerate(sums)]
        answers = [finished(w, each, self.form.after) for each in (made[:1] if self.form.gated else made)]
        if self.form.gated:
            answers = [b.fmul(answers[0], made[1])]
        fits = b.icmp_signed("<=", b.add(place, w.number(self.outputs)), w["dim"])
        with b.if_else(fits) as (whole, part):
            with whole:
                self._put(answers, residual, out)
            with part:
                count = b.sub(w["dim"], place)
                kind = w.ir.IntType(8 * size)
                if self.form.residual:
                    with w.loop(0, count) as j:
                        w.store(w.load(w.at(residual, w.times(j, size)), kind), w.at(self.tail, w.times(j, size)))
                self._put(answers, self.tail, self.tail)
                with w.loop(0, count) as j:
                    w.store(w.load(w.at(self.tail, w.times(j, size)), kind), w.at(out, w.times(j, size)))

    def _answer(self, v: int, i: Any, n: Any, value: Any) -> Any:
        """scale * size * (sum - zero * total) + shift, of vector ``v`` of block ``n``."""
        w, b = self.w, self.w.b
        here = w.times(n, 4 * self.width)
        shift = w.load(w.at(w["shift"], here, 4 * w.lanes * v))
        if self.form.numbers is Numbers.INT8:
            size = w.splat(w.load(w.at(self.sizes, w.times(i, 4)), w.f32))
            zero = w.splat(w.load(w.at(self.zeros, w.times(i, 4)), w.i32), w.ints)
            whole = w.load(w.at(w["totals"], here, 4 * w.lanes * v), w.ints)
            value = b.sub(value, b.mul(zero, whole))
            scale = b.fmul(w.load(w.at(w["scale"], here, 4 * w.lanes * v)), size)
            return w.fma(b.sitofp(value, w.floats), scale, shift)
        return b.fadd(value, shift)

    def _put(self, answers: list[Any], residual: Any, out: Any) -> None:
        w, step = self.w, self.w.lanes * (2 if self.form.half_out else 4)
        for v, value in enumerate(answers):
            if self.form.residual:
                value = w.b.fadd(value, self._floats(w.at(residual, step * v), self.form.half_out))
            w.store(self.w.halved(value) if self.form.half_out else value, w.at(out, step * v))

    def _floats(self, at: Any, half: bool) -> Any:
        """A vector of floats, as they lie or of bfloat16."""
        return self.w.load_half(at) if half else self.w.load(at)


def finished(w: Writer, x: Any, after: Activation) -> Any:
    """A nonlinearity of a vector of floats."""
    b, one = w.b, w.splat(1.0)
    if after is Activation.IDENTITY:
        return x
    if after is Activation.RELU:
        return w.maximum(x, w.splat(0.0))
    if after is Activation.GELU:
        size = w.size(b.fmul(x, w.splat(0.7071067811865476)))
        t = b.fdiv(one, w.fma(size, w.splat(_ERF), one))
        y = w.splat(_ERF_SUM[0])
        for factor in _ERF_SUM[1:]:
            y = w.fma(y, t, w.splat(factor))
        far = b.fmul(b.fmul(y, t), w.exp(b.fneg(b.fmul(size, size))))  # 1 - erf |x / sqrt 2|
        low = b.fmul(w.splat(0.5), b.fmul(x, far))
        return b.select(b.fcmp_ordered("<", x, w.splat(0.0)), low, b.fsub(x, low))
    inner = x
    if after is Activation.GELU_TANH:
        cube = b.fmul(b.fmul(x, x), x)
        inner = b.fmul(w.splat(1.5957691216057308), w.fma(w.splat(0.044715), cube, x))
    gate = b.fdiv(one, b.fadd(one, w.exp(b.fneg(inner))))
    return gate if after is Activation.SIGMOID else b.fmul(x, gate)
