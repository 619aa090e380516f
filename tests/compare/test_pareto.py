"""The front holds exactly what no other point beats."""

from hypothesis import given
from hypothesis import strategies as st

from variorum.compare.pareto import front

COSTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


def test_a_small_front() -> None:
    assert front([(0, 3), (1, 1), (2, 2), (3, 0), (1, 1)]) == [True, True, False, True, True]


@given(COSTS)
def test_whoever_is_off_the_front_is_beaten_by_someone_on_it(costs: list[tuple[int, ...]]) -> None:
    on = front(costs)
    best = [cost for cost, kept in zip(costs, on, strict=True) if kept]
    assert best
    for cost, kept in zip(costs, on, strict=True):
        beaten = any(all(x <= y for x, y in zip(other, cost, strict=True)) and other != cost for other in best)
        assert beaten is not kept


@given(COSTS)
def test_order_does_not_matter(costs: list[tuple[int, ...]]) -> None:
    assert front(costs) == front(costs[::-1])[::-1]
