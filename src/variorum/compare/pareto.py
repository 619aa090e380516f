"""The Pareto front: what no other candidate beats in one respect without losing in another."""

from collections.abc import Sequence


def front(costs: Sequence[tuple[float, ...]]) -> list[bool]:
    """Which points lie on the front, where every coordinate is better when smaller; equal points all lie on it."""
    return [not any(_dominates(other, cost) for other in costs) for cost in costs]


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b
