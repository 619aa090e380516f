"""Kernels one after another in one call: between them no thread goes back to Python, nor to sleep."""

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from variorum.layers.native.writer import Writer


class Link(Protocol):
    """A kernel of a chain."""

    @property
    def kernel(self) -> Callable[..., Any]:
        """Of :class:`Writer` with ``threads``."""

    @property
    def table(self) -> "array[int]":
        """Its arguments, addresses and numbers in their order, which may be changed between calls."""


class Bound(NamedTuple):
    """A kernel and its arguments; and tensors that nobody else holds, whose addresses are among them."""

    kernel: Callable[..., Any]
    table: "array[int]"
    held: tuple[Tensor, ...] = ()


class Chain:
    """Runs kernels in order, all threads meeting after each."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.tables, self._held = [link.table for link in links], links
        told = [n for link in links for n in (link.kernel.work, link.table.buffer_info()[0])]  # type: ignore[attr-defined]
        self._links, self._run = array("q", told), _chain()

    def __call__(self, threads: int) -> None:
        """Run them all in so many threads."""
        self._run(self._links.buffer_info()[0], len(self.tables), threads)


@cache
def _chain() -> Callable[..., Any]:
    w = Writer(["links"], ["count"], threads=True)
    kind = w.ir.FunctionType(w.ir.VoidType(), [w.ptr]).as_pointer()
    with w.loop(0, w["count"]) as i:
        link = w.at(w["links"], w.times(i, 16))
        work = w.b.inttoptr(w.load(link, w.i64), kind)
        w.b.call(work, [w.load(w.at(link, 8), w.ptr)])
        w.barrier()
    return w.compiled()
