"""Kernels as they are written: loops, vectors and threads over llvmlite's builder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from variorum.layers.native.machine_code import BARRIER, PARALLEL, THREAD, THREADS, compiled, machine, threaded

LOG2E = 1.4426950408889634
"""log2(e): e^x = 2^(x log2 e)."""
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.428606820309417e-06
_EXP = (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
"""Of Taylor's series: on [-ln 2 / 2, ln 2 / 2] what is left out is 2e-7 of the whole at most."""
_EXP_RANGE = (-87.33654, 88.0)
_EXP2 = {
    3: (0.0550089329, 0.242210954, 0.693282902),
    5: (0.00132647203, 0.00967151299, 0.0555073395, 0.240222424, 0.693147004),
}
"""By the number of terms beside 1: of the polynomials that are 1 at 0 those nearest to 2^r on [-1/2, 1/2]."""
_EXP2_LOW = -126.0
_PER_QUARTER, _QUARTER = 0.6366197723675814, (1.5707963705062866, -4.371138828673793e-08, -1.7151245100059e-15)
"""2 / pi; and pi / 2 as a sum of floats."""
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5)
"""Of polynomials in x^2 that are nearest on [-pi/4, pi/4]: of sin x / x - 1, and of cos x - 1."""


class Writer:
    """One kernel: a function of pointers and 64-bit numbers, all or nothing of which is run by each thread.

    ``self[name]`` is an argument. Values are llvmlite's; a vector has ``lanes`` numbers of 32 bits. Variables are made
    by :meth:`variable` and become registers when the kernel is compiled. threads: run in as many threads as the kernel
    is told to, as its last argument; :attr:`thread` and :attr:`threads` then tell them apart, and where there is no
    OpenMP one thread does it all.
    """

    def __init__(self, pointers: Sequence[str], numbers: Sequence[str] = (), *, threads: bool = False) -> None:
        from llvmlite import ir

        self.ir, self.names, self.pointers = ir, (*pointers, *numbers), len(pointers)
        self.machine = machine()
        self.lanes = self.machine.lanes
        self.i64, self.i32, self.f32, self.ptr = ir.IntType(64), ir.IntType(32), ir.FloatType(), ir.PointerType()
        self.floats, self.ints = ir.VectorType(self.f32, self.lanes), ir.VectorType(self.i32, self.lanes)
        self.module = ir.Module("kernel")
        self._parallel = threads
        self._kinds = [self.ptr] * self.pointers + [self.i64] * len(numbers)
        self.function = self._function("work", [self.ptr] if threads else self._kinds)
        self._first = self.function.append_basic_block("entry")
        self.b = ir.IRBuilder(self.function.append_basic_block("body"))
        self._args = self._unpacked() if threads else dict(zip(self.names, self.function.args, strict=True))
        if threads:
            wide = [self.b.sext(self._outside(name, self.i32, []), self.i64) for name in (THREAD, THREADS)]
            self.thread, self.threads = wide

    def __getitem__(self, name: str) -> Any:
        return self._args[name]

    # -- numbers and vectors -------------------------------------------------------------------------------------------
    def number(self, value: int) -> Any:
        """A 64-bit constant."""
        return self.ir.Constant(self.i64, value)

    def splat(self, value: Any, kind: Any = None) -> Any:
        """A vector of one number: a Python number (``kind`` is then its vector type, floats if left out) or a value."""
        kind = kind or self.floats
        if isinstance(value, int | float):
            return self.ir.Constant(kind, [value] * kind.count)
        one = self.b.insert_element(self.ir.Constant(kind, self.ir.Undefined), value, self.ir.Constant(self.i32, 0))
        zeros = self.ir.Constant(self.ir.VectorType(self.i32, kind.count), [0] * kind.count)
        return self.b.shuffle_vector(one, self.ir.Constant(kind, self.ir.Undefined), zeros)

    def at(self, pointer: Any, *bytes_: Any) -> Any:
        """``pointer`` moved by so many bytes."""
        for step in bytes_:
            step = self.number(step) if isinstance(step, int) else step
            pointer = self.b.gep(pointer, [step], source_etype=self.ir.IntType(8))
        return pointer

    def times(self, value: Any, by: int) -> Any:
        """A 64-bit number times a constant."""
        return self.b.mul(value, self.number(by))

    def load(self, pointer: Any, kind: Any = None) -> Any:
        """What lies at a pointer, wherever that is: floats if no type is given."""
        return self.b.load(pointer, typ=kind or self.floats, align=1)

    def fields(self, table: Any, which: Any, names: Sequence[str]) -> dict[str, Any]:
        """Of a table of 64-bit numbers, so many to a row as there are names, a row by name."""
        row = self.at(table, self.times(which, 8 * len(names)))
        return {name: self.load(self.at(row, 8 * i), self.i64) for i, name in enumerate(names)}

    def store(self, value: Any, pointer: Any) -> None:
        """Write a value, wherever that is."""
        self.b.store(value, pointer, align=1)

    def call(self, name: str, kind: Any, args: Sequence[Any], *, fast: bool = False) -> Any:
        """One of LLVM's own functions. fast: sums may be taken in any order."""
        return self._outside(name, kind, list(args), fastmath=("reassoc",) if fast else ())

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c of vectors of floats."""
        return self.call(f"llvm.fma.v{a.type.count}f32", a.type, [a, b, c])

    def total(self, value: Any) -> Any:
        """The sum of a vector's numbers."""
        zero = self.ir.Constant(self.f32, -0.0)
        return self.call(f"llvm.vector.reduce.fadd.v{value.type.count}f32", self.f32, [zero, value], fast=True)

    def whole_total(self, value: Any) -> Any:
        """The sum of a vector's integers."""
        return self.call(f"llvm.vector.reduce.add.v{value.type.count}i32", self.i32, [value])

    def largest(self, value: Any) -> Any:
        """The largest of a vector's numbers."""
        return self.call(f"llvm.vector.reduce.fmax.v{value.type.count}f32", self.f32, [value])

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger of each pair of floats, or vectors of them."""
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def load_half(self, pointer: Any, lanes: int | None = None) -> Any:
        """Numbers of bfloat16 at a pointer, as floats."""
        half = self.load(pointer, self.ir.VectorType(self.ir.IntType(16), lanes or self.lanes))
        whole = self.ir.VectorType(self.i32, half.type.count)
        wide = self.b.shl(self.b.zext(half, whole), self.splat(16, whole))
        return self.b.bitcast(wide, self.ir.VectorType(self.f32, half.type.count))

    def halved(self, value: Any) -> Any:
        """A vector of floats as the bits of bfloat16, rounded to the nearest, ties to even. Not for NaN."""
        b, whole = self.b, self.ir.VectorType(self.i32, value.type.count)
        bits = b.bitcast(value, whole)
        odd = b.and_(b.lshr(bits, self.splat(16, whole)), self.splat(1, whole))
        up = b.add(b.add(bits, self.splat(0x7FFF, whole)), odd)
        return b.trunc(b.lshr(up, self.splat(16, whole)), self.ir.VectorType(self.ir.IntType(16), value.type.count))

    def dot_of_fours(self, total: Any, x: Any, weight: Any) -> Any:
        """total + sum_j x_j w_j, each number of 32 bits four of 8: those of x without a sign, those of w with one."""
        if self.machine.dots:
            return self.call("llvm.x86.avx512.vpdpbusd.512", total.type, [total, x, weight])
        b, kind = self.b, total.type
        for j in range(4):
            one = b.and_(b.lshr(x, self.splat(8 * j, kind)), self.splat(255, kind))
            other = b.ashr(b.shl(weight, self.splat(24 - 8 * j, kind)), self.splat(24, kind))
            total = b.add(total, b.mul(one, other))
        return total

    def dot_of_pairs(self, total: Any, x: Any, weight: Any) -> Any:
        """total + x_0 w_0 + x_1 w_1 in floats, each number of 32 bits two of bfloat16."""
        b, kind = self.b, x.type
        if self.machine.halves:
            pairs = self.ir.VectorType(_bfloat(), 2 * kind.count)
            args = [total, *(b.bitcast(t, pairs) for t in (x, weight))]
            return self.call("llvm.x86.avx512bf16.dpbf16ps.512", total.type, args)
        high = self.splat(-65536, kind)
        for change in (lambda t: b.shl(t, self.splat(16, kind)), lambda t: b.and_(t, high)):
            one, other = (b.bitcast(change(t), total.type) for t in (x, weight))
            total = self.fma(one, other, total)
        return total

    def size(self, value: Any) -> Any:
        """|x| of a vector of floats."""
        return self.call(f"llvm.fabs.v{value.type.count}f32", value.type, [value])

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller of each pair of floats, or vectors of them."""
        return self.b.select(self.b.fcmp_ordered("<", a, b), a, b)

    def smallest(self, value: Any) -> Any:
        """The smallest of a vector's numbers."""
        return self.call(f"llvm.vector.reduce.fmin.v{value.type.count}f32", self.f32, [value])

    def rounded(self, value: Any) -> Any:
        """A vector of floats as the nearest integers, ties to even."""
        nearest = self.call(f"llvm.roundeven.v{value.type.count}f32", value.type, [value])
        return self.b.fptosi(nearest, self.ir.VectorType(self.i32, value.type.count))

    def exp(self, x: Any) -> Any:
        """e^x of floats: 2^n e^r with n = round(x / ln 2), to 2e-7 of it; below -87.3 it is 0, and NaN stays."""
        b, kind = self.b, x.type
        whole = self.ir.VectorType(self.i32, kind.count)
        low, high = (self.splat(edge, kind) for edge in _EXP_RANGE)
        inside = b.select(b.fcmp_ordered("<", x, high), x, high)
        inside = self.maximum(inside, low)
        n = self.call(f"llvm.roundeven.v{kind.count}f32", kind, [b.fmul(inside, self.splat(LOG2E, kind))])
        r = self.fma(n, self.splat(-_LN2_HIGH, kind), inside)
        r = self.fma(n, self.splat(-_LN2_LOW, kind), r)
        y = self.splat(_EXP[0], kind)
        for factor in _EXP[1:]:
            y = self.fma(y, r, self.splat(factor, kind))
        power = b.shl(b.add(b.fptosi(n, whole), self.splat(127, whole)), self.splat(23, whole))
        y = b.fmul(y, b.bitcast(power, kind))
        y = b.select(b.fcmp_ordered("<", x, low), self.splat(0.0, kind), y)
        return b.select(b.fcmp_unordered("uno", x, x), x, y)

    def exp2(self, x: Any, *, terms: int = 5) -> Any:
        """2^x of a vector of floats that are at most 127: 2^n p(x - n), to 1.1e-7 of it, with 3 terms to 1e-4.

        1 of 0, 0 below -126, also of minus infinity; NaN stays NaN.
        """
        b, kind = self.b, x.type
        whole, low = self.ir.VectorType(self.i32, kind.count), self.splat(_EXP2_LOW, kind)
        inside = self.maximum(low, x)  # in this order NaN comes through
        n = self.call(f"llvm.roundeven.v{kind.count}f32", kind, [inside])
        r = b.fsub(inside, n)
        y = self.splat(_EXP2[terms][0], kind)
        for factor in (*_EXP2[terms][1:], 1.0):
            y = self.fma(y, r, self.splat(factor, kind))
        power = b.shl(b.fptosi(n, whole), self.splat(23, whole))
        y = b.bitcast(b.add(b.bitcast(y, whole), power), kind)
        return b.select(b.fcmp_ordered("<", x, low), self.splat(0.0, kind), y)

    def cosine_and_sine(self, x: Any) -> tuple[Any, Any]:
        """cos x and sin x of a vector of floats, to 1e-7 up to |x| of 1e5: of x less whole quarter turns."""
        b, kind = self.b, x.type
        whole = self.ir.VectorType(self.i32, kind.count)
        turns = self.call(f"llvm.roundeven.v{kind.count}f32", kind, [b.fmul(x, self.splat(_PER_QUARTER, kind))])
        r = x
        for part in _QUARTER:
            r = self.fma(turns, self.splat(-part, kind), r)
        square, one = b.fmul(r, r), self.splat(1.0, kind)
        sine, cosine = (self.splat(factors[0], kind) for factors in (_SINE, _COSINE))
        for factor in _SINE[1:]:
            sine = self.fma(sine, square, self.splat(factor, kind))
        for factor in _COSINE[1:]:
            cosine = self.fma(cosine, square, self.splat(factor, kind))
        sine, cosine = self.fma(b.fmul(sine, square), r, r), self.fma(cosine, square, one)
        quarter = b.fptosi(turns, whole)
        odd = b.icmp_signed("!=", b.and_(quarter, self.splat(1, whole)), self.splat(0, whole))
        found = []
        for straight, swapped, ahead in ((cosine, sine, 1), (sine, cosine, 0)):
            value = b.bitcast(b.select(odd, swapped, straight), whole)
            sign = b.and_(b.add(quarter, self.splat(ahead, whole)), self.splat(2, whole))
            found.append(b.bitcast(b.xor(value, b.shl(sign, self.splat(30, whole))), kind))
        return found[0], found[1]

    def prefetch(self, pointer: Any) -> None:
        """Ask for what will be read once."""
        flags = [self.ir.Constant(self.i32, n) for n in (0, 2, 1)]
        self._outside("llvm.prefetch.p0", self.ir.VoidType(), [pointer, *flags])

    # -- variables and the way through ---------------------------------------------------------------------------------
    def variable(self, value: Any) -> "Variable":
        """A variable that begins with a value."""
        with self.b.goto_block(self._first):
            place = self.b.alloca(value.type)
        made = Variable(self, place, value.type)
        made.set(value)
        return made

    def room(self, size: Any) -> Any:
        """A pointer to so many bytes of this thread's own, aligned to 64; to be asked for outside loops."""
        size = self.number(size) if isinstance(size, int) else size
        place = self.b.alloca(self.ir.IntType(8), size=size)
        place.align, place.type = 64, self.ptr
        return place

    @contextmanager
    def loop(self, first: Any, last: Any, step: int = 1) -> Iterator[Any]:
        """``for i in range(first, last, step)``, of 64-bit numbers."""
        first, last = (self.number(n) if isinstance(n, int) else n for n in (first, last))
        i = self.variable(first)
        test, body, after = (self.function.append_basic_block(name) for name in ("test", "loop", "after"))
        self.b.branch(test)
        self.b.position_at_end(test)
        self.b.cbranch(self.b.icmp_signed("<", i.get(), last), body, after)
        self.b.position_at_end(body)
        now = i.get()
        yield now
        i.set(self.b.add(now, self.number(step)))
        self.b.branch(test)
        self.b.position_at_end(after)

    @contextmanager
    def during(self, test: Callable[[], Any]) -> Iterator[None]:
        """``while test():``; what is tested is written once, and holds variables."""
        again, body, after = (self.function.append_basic_block(name) for name in ("again", "during", "after"))
        self.b.branch(again)
        self.b.position_at_end(again)
        self.b.cbranch(test(), body, after)
        self.b.position_at_end(body)
        yield
        self.b.branch(again)
        self.b.position_at_end(after)

    def shares(self, count: Any) -> tuple[Any, Any]:
        """The first of ``count`` pieces of work that this thread does, and the first that it does not."""
        b = self.b
        return tuple(
            b.sdiv(b.mul(count, which), self.threads) for which in (self.thread, b.add(self.thread, self.number(1)))
        )

    def barrier(self) -> None:
        """Go on when all threads have come so far; each of them has to."""
        self._outside(BARRIER, self.ir.VoidType(), [])

    # -- the end -------------------------------------------------------------------------------------------------------
    def compiled(self) -> Callable[..., Any]:
        """The kernel as a function of addresses and numbers; the last of them the number of threads, if it has any."""
        self.b.ret_void()
        with self.b.goto_block(self._first):
            self.b.branch(self.function.blocks[1])
        if not self._parallel:
            return compiled(str(self.module), "work", self.pointers, len(self.names) - self.pointers)
        if not threaded():
            self._alone()
        self._entry()
        return compiled(str(self.module), "entry", self.pointers, len(self.names) - self.pointers + 1)

    def _entry(self) -> None:
        """entry(arguments, threads): lays the arguments down and has ``work`` run by every thread."""
        entry = self._function("entry", [*self._kinds, self.i64])
        b = self.ir.IRBuilder(entry.append_basic_block("entry"))
        packed = b.alloca(self.i64, size=self.number(len(self._kinds)))
        packed.type = self.ptr
        for i, argument in enumerate(entry.args[:-1]):
            b.store(argument, b.gep(packed, [self.number(i)], source_etype=self.i64))
        parallel = self._declared(PARALLEL, self.ir.VoidType(), [self.ptr, self.ptr, self.i32, self.i32])
        b.call(parallel, [self.function, packed, b.trunc(entry.args[-1], self.i32), self.ir.Constant(self.i32, 0)])
        b.ret_void()

    def _alone(self) -> None:
        """One thread in place of OpenMP's."""
        for name, value in ((THREAD, 0), (THREADS, 1)):
            b = self.ir.IRBuilder(self._declared(name, self.i32, []).append_basic_block("entry"))
            b.ret(self.ir.Constant(self.i32, value))
        self.ir.IRBuilder(self._declared(BARRIER, self.ir.VoidType(), []).append_basic_block("entry")).ret_void()
        kinds = [self.ptr, self.ptr, self.i32, self.i32]
        parallel = self._declared(PARALLEL, self.ir.VoidType(), kinds)
        b = self.ir.IRBuilder(parallel.append_basic_block("entry"))
        b.call(self.function, [parallel.args[1]])
        b.ret_void()

    def _unpacked(self) -> dict[str, Any]:
        packed, found = self.function.args[0], {}
        for i, (name, kind) in enumerate(zip(self.names, self._kinds, strict=True)):
            found[name] = self.b.load(self.b.gep(packed, [self.number(i)], source_etype=self.i64), typ=kind)
        return found

    def _function(self, name: str, kinds: Sequence[Any]) -> Any:
        return self.ir.Function(self.module, self.ir.FunctionType(self.ir.VoidType(), kinds), name)

    def _outside(self, name: str, kind: Any, args: list[Any], fastmath: tuple[str, ...] = ()) -> Any:
        return self.b.call(self._declared(name, kind, [a.type for a in args]), args, fastmath=fastmath)

    def _declared(self, name: str, kind: Any, kinds: Sequence[Any]) -> Any:
        known = self.module.globals.get(name)
        return known or self.ir.Function(self.module, self.ir.FunctionType(kind, kinds), name)


def _bfloat() -> Any:
    """LLVM's bfloat, which llvmlite's builder does not know."""
    from llvmlite import ir

    class BFloat(ir.Type):  # type: ignore[misc]
        intrinsic_name = "bf16"

        def _to_string(self) -> str:
            return "bfloat"

        def __eq__(self, other: object) -> bool:
            return type(other).__name__ == "BFloat"

        def __hash__(self) -> int:
            return hash("bfloat")

    return BFloat()


class Variable:
    """A place for one value of a kernel."""

    def __init__(self, writer: Writer, place: Any, kind: Any) -> None:
        self._writer, self._place, self.type = writer, place, kind

    def get(self) -> Any:
        """Its value now."""
        return self._writer.b.load(self._place, typ=self.type)

    def set(self, value: Any) -> None:
        """Its value from here on."""
        self._writer.b.store(value, self._place)
