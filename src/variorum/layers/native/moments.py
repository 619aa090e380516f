"""What a norm takes from a row of numbers, in machine code."""

from collections.abc import Callable
from typing import Any

from variorum.layers.native.writer import Writer

Fold = Callable[[Callable[[Any, Any], Any], Any], Any]
"""fold(add, behind): the total of a row, each vector of it joined by ``add(total, vector)``; where the row ends within
a vector, ``behind`` stands for what is not there.
"""


def moments(w: Writer, count: Any, fold: Fold, *, centred: bool, eps: float) -> tuple[Any, Any]:
    """mean(x), 0 unless ``centred``, and 1 / sqrt(mean((x - mean)^2) + eps), as floats, of ``count`` numbers x."""
    b = w.b
    mean = w.ir.Constant(w.f32, 0.0)
    if centred:
        mean = b.fdiv(fold(b.fadd, mean), count)

    def square(total: Any, value: Any) -> Any:
        apart = b.fsub(value, w.splat(mean, value.type))
        return w.fma(apart, apart, total)

    spread = b.fadd(b.fdiv(fold(square, mean), count), w.ir.Constant(w.f32, eps))
    return mean, b.fdiv(w.ir.Constant(w.f32, 1.0), w.call("llvm.sqrt.f32", w.f32, [spread]))
