"""The machine code of a norm that stands behind a product."""

from array import array
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from torch import Tensor

from variorum.layers.native.chain import Bound
from variorum.layers.native.moments import moments
from variorum.layers.native.writer import Writer
from variorum.runtime.engine.kernels.product import Normed


def bound_norm(
    normed: Normed, x: Tensor, gain: Tensor, shift: Tensor, out: Tensor, residual: Tensor | None = None
) -> Bound:
    """out = gain * norm(x) + shift [+ residual], as a link of a chain of kernels, of tensors that stay where they are.

    x, out and residual (rows, dim), gain and shift (dim,): float32, contiguous; ``out`` may be ``residual``.
    """
    told = (t.data_ptr() for t in (x, gain, shift, x if residual is None else residual, out))
    return Bound(_kernel(normed, residual is not None), array("q", (*told, *x.shape)), (gain, shift))


@cache
def _kernel(normed: Normed, adds: bool) -> Callable[..., Any]:
    w = Writer(["x", "gain", "shift", "residual", "out"], ["rows", "dim"], threads=True)
    b, row_bytes = w.b, w.times(w["dim"], 4)
    count = b.sitofp(w["dim"], w.f32)
    first, last = w.shares(w["rows"])
    with w.loop(first, last) as row:
        x, residual, out = (w.at(w[name], b.mul(row, row_bytes)) for name in ("x", "residual", "out"))
        mean, by = moments(w, count, partial(_fold, w, x), centred=normed.centred, eps=normed.eps)
        for at, kind in _vectors(w):
            value = b.fsub(w.load(w.at(x, at), kind), w.splat(mean, kind))
            value = w.fma(b.fmul(value, w.splat(by, kind)), *(w.load(w.at(w[n], at), kind) for n in ("gain", "shift")))
            w.store(b.fadd(value, w.load(w.at(residual, at), kind)) if adds else value, w.at(out, at))
    return w.compiled()


def _vectors(w: Writer) -> Iterator[tuple[Any, Any]]:
    """Writes twice what is done to a row's numbers: to whole vectors, and to those left over, one by one; gives the
    bytes before them and their type.
    """
    whole = w.times(w.b.sdiv(w["dim"], w.number(w.lanes)), w.lanes)
    for first, last, lanes in ((w.number(0), whole, w.lanes), (whole, w["dim"], 1)):
        with w.loop(first, last, lanes) as i:
            yield w.times(i, 4), w.ir.VectorType(w.f32, lanes)


def _fold(w: Writer, x: Any, add: Callable[[Any, Any], Any], _: Any) -> Any:
    """The total of a row (see :func:`~variorum.layers.native.moments.moments`); no vector of it is filled up."""
    sums = {n: w.variable(w.splat(0.0, w.ir.VectorType(w.f32, n))) for n in (w.lanes, 1)}
    for at, kind in _vectors(w):
        total = sums[kind.count]
        total.set(add(total.get(), w.load(w.at(x, at), kind)))
    return w.b.fadd(*(w.total(total.get()) for total in sums.values()))
