"""Growth: arithmetic and memory with the length of a row, measured against what is declared."""

import math

import torch

from variorum.core import Growth, TokenPart
from variorum.testing.example import Example
from variorum.testing.memory import peak_bytes
from variorum.testing.needs import TOKENS
from variorum.testing.suite import Need, promise
from variorum.testing.work import work

LENGTHS = {0: (64, 256, 1024), 1: (64, 256, 1024), 2: (64, 256, 1024), 3: (8, 64, 512)}
"""Row lengths by the dimensions of the grid: geometric, and squares or cubes of powers of two there."""

BOUNDS = {
    Growth.LINEAR: (0.0, 1.1),
    Growth.LOGLINEAR: (0.95, 1.35),
    Growth.SUBQUADRATIC: (1.2, 1.65),
    Growth.QUADRATIC: (1.7, 2.1),
}
"""Least and greatest exponent taken for each declared growth. At the lengths measured n log n is about n^1.2."""

GROWING = Need("its growth is that of the parts it holds", lambda e: issubclass(e.cls, TokenPart))
FREE = Need("its rows have one length only", lambda e: not e.traits.length or e.long(64).traits.length == 64)


@promise(TOKENS, GROWING, FREE)
def work_grows_as_declared(example: Example) -> None:
    """Arithmetic operations grow with the row length as the part's traits say, neither faster nor slower."""
    found = exponent([_measured(example, n, memory=False) for n in _lengths(example)], _lengths(example))
    low, high = BOUNDS[example.traits.growth]
    assert low <= found <= high, f"it declares {example.traits.growth}, but its work grows like n^{found:.2f}"


@promise(TOKENS, GROWING, FREE)
def memory_grows_as_declared(example: Example) -> None:
    """The memory held at once grows no faster with the row length than the part's traits say of its arithmetic."""
    found = exponent([_measured(example, n, memory=True) for n in _lengths(example)], _lengths(example))
    high = BOUNDS[example.traits.growth][1]
    assert found <= high, f"it declares {example.traits.growth}, but its memory grows like n^{found:.2f}"


def exponent(found: list[int], lengths: tuple[int, ...]) -> float:
    """p of c0 + c1 n^p through three values at geometric lengths."""
    first, second = found[1] - found[0], found[2] - found[1]
    return math.log(second / first) / math.log(lengths[1] / lengths[0]) if first > 0 and second > 0 else 0.0


def _lengths(example: Example) -> tuple[int, ...]:
    return LENGTHS[example.traits.grid]


def _measured(example: Example, n: int, *, memory: bool) -> int:
    long = example.long(n)
    size = long.size(n)
    part, given = long.build(torch.float32), long.given(long.rows(size, longest=n), size, torch.float32)
    with torch.no_grad():
        return peak_bytes(lambda: part(**given)) if memory else work(lambda: part(**given))
