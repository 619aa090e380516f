"""Layout: packing and unpacking, and functions of equal rows applied to rows of any length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from variorum.core import Layout, State, VariorumError, each_pair, each_row, pack, pool_rows, unpack
from variorum.core.layout import positions

LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=7)
MANY = settings(max_examples=100)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixed(x: Tensor, y: Tensor) -> Tensor:
    """A function of whole rows that looks at every token, and at where it stands."""
    return x.cumsum(1) * y.mean(1, keepdim=True) + torch.arange(x.shape[1])[:, None]


@MANY
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_unpack_is_the_inverse_of_pack(rows: list[list[bool]]) -> None:
    mask = torch.tensor(rows)
    x = numbers(len(rows), 4, 3)
    packed, layout = pack(x, mask)
    assert packed.shape == (int(mask.sum()), 3) and layout.lengths == mask.sum(1).tolist()
    assert torch.equal(packed, torch.cat([x[r][mask[r]] for r in range(len(rows))]))
    assert torch.equal(unpack(packed, mask), x * mask[..., None])
    assert torch.equal(pack(unpack(packed, mask), mask)[0], packed)


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 3), torch.ones(3, 2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)]
)
def test_a_mask_that_is_none_is_refused(mask: Tensor) -> None:
    with pytest.raises(VariorumError, match="True = a real token"):
        pack(numbers(2, 3, 4), mask)


@MANY
@given(LENGTHS)
def test_a_layout_says_where_each_token_stands(lengths: list[int]) -> None:
    layout = Layout.ragged(lengths)
    assert layout.packed and layout.lengths == lengths
    x = numbers(sum(lengths), 2)
    assert layout.row_of.tolist() == [r for r, n in enumerate(lengths) for _ in range(n)]
    assert positions(x, layout).tolist() == [t for n in lengths for t in range(n)]
    start = torch.arange(len(lengths)) * 10
    wanted = [10 * r + t for r, n in enumerate(lengths) for t in range(n)]
    assert positions(x, layout.but(start=start)).tolist() == wanted
    assert sorted(i for _, tokens in layout.groups for i in tokens.flatten().tolist()) == list(range(sum(lengths)))


def test_equal_rows_stand_at_the_same_places() -> None:
    x = numbers(2, 4, 3)
    assert positions(x, None).tolist() == positions(x, Layout(grid=(2, 2))).tolist() == [0, 1, 2, 3]
    assert positions(x, Layout(start=torch.tensor([0, 5]))).tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert not Layout().packed
    with pytest.raises(VariorumError, match="packed rows"):
        _ = Layout().lengths


@MANY
@given(LENGTHS)
def test_each_row_is_a_loop_over_rows(lengths: list[int]) -> None:
    x, y = numbers(sum(lengths), 3), numbers(sum(lengths), 3, seed=1)
    found = each_row(mixed, Layout.ragged(lengths), x, y)
    loop = [mixed(a[None], b[None])[0] for a, b in zip(x.split(lengths), y.split(lengths), strict=True) if len(a)]
    assert found.shape == x.shape
    torch.testing.assert_close(found, torch.cat([*loop, x[:0]]), rtol=0, atol=1e-12)


@MANY
@given(LENGTHS)
def test_each_row_with_a_state_is_a_loop_over_rows(lengths: list[int]) -> None:
    """Rows without tokens keep their state."""

    def go_on(x: Tensor, state: State) -> tuple[Tensor, State]:
        sums = x.cumsum(1) + state.tensor("sum")[:, None]
        return sums, State(sum=sums[:, -1], seen=state.tensor("seen") + x.shape[1])

    x = numbers(sum(lengths), 2)
    before = State(sum=numbers(len(lengths), 2, seed=2), seen=torch.zeros(len(lengths), dtype=torch.int64))
    found, after = each_row(go_on, Layout.ragged(lengths), x, state=before.copy())
    rows = [before.tensor("sum")[r] + row.cumsum(0) for r, row in enumerate(x.split(lengths))]
    torch.testing.assert_close(found, torch.cat(rows), rtol=0, atol=1e-12)
    assert after.tensor("seen").tolist() == lengths
    last = [rows[r][-1] if n else before.tensor("sum")[r] for r, n in enumerate(lengths)]
    torch.testing.assert_close(after.tensor("sum"), torch.stack(last), rtol=0, atol=1e-12)


def test_rows_without_any_token_give_none() -> None:
    layout = Layout.ragged([0, 0])
    assert each_row(mixed, layout, numbers(0, 3), numbers(0, 3)).shape == (0, 3)
    assert pool_rows(lambda x: x.mean(1), layout, numbers(0, 3)).equal(torch.zeros(2, 3, dtype=torch.float64))


@MANY
@given(LENGTHS, st.data())
def test_each_pair_is_a_loop_over_pairs(lengths: list[int], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.integers(0, 4), min_size=len(lengths), max_size=len(lengths)))
    x, y = numbers(sum(lengths), 3), numbers(sum(others), 3, seed=1)

    def meet(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT).softmax(-1) @ y

    def alone(a: Tensor, b: Tensor) -> Tensor:
        return meet(a[None], b[None])[0] if len(a) and len(b) else torch.zeros_like(a)

    found = each_pair(meet, Layout.ragged(lengths), (x,), Layout.ragged(others), (y,))
    loop = [alone(a, b) for a, b in zip(x.split(lengths), y.split(others), strict=True)]
    torch.testing.assert_close(found, torch.cat(loop), rtol=0, atol=1e-12)


@pytest.mark.parametrize("packed", [(True, False), (False, True), (True, True)])
def test_each_pair_takes_either_form_on_either_side(packed: tuple[bool, bool]) -> None:
    x, y = numbers(2, 3, 4), numbers(2, 5, 4, seed=1)
    left, right = (Layout.ragged([n, n]) if flat else None for flat, n in zip(packed, (3, 5), strict=True))

    def meet(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT) @ y

    found = each_pair(meet, left, (x.flatten(0, 1) if left else x,), right, (y.flatten(0, 1) if right else y,))
    torch.testing.assert_close(found.reshape(2, 3, 4), meet(x, y))


def test_a_memory_with_another_number_of_rows_is_refused() -> None:
    with pytest.raises(VariorumError, match="2 rows"):
        each_pair(lambda x, y: x, Layout.ragged([1, 2]), (numbers(3, 2),), Layout.ragged([3]), (numbers(3, 2),))


@MANY
@given(LENGTHS)
def test_pool_rows_is_a_loop_over_rows(lengths: list[int]) -> None:
    x, y = numbers(sum(lengths), 3), numbers(sum(lengths), 1, seed=1)

    def pool(x: Tensor, y: Tensor) -> Tensor:
        return (x * y.softmax(1)).sum(1)

    found = pool_rows(pool, Layout.ragged(lengths), x, y)
    rows = zip(x.split(lengths), y.split(lengths), strict=True)
    loop = [pool(a[None], b[None])[0] if len(a) else torch.zeros(3, dtype=torch.float64) for a, b in rows]
    torch.testing.assert_close(found, torch.stack(loop), rtol=0, atol=1e-12)


@MANY
@given(LENGTHS)
def test_gradients_go_through_the_gathering(lengths: list[int]) -> None:
    x = numbers(sum(lengths), 2).requires_grad_()
    weight = numbers(sum(lengths), 2, seed=3)
    (each_row(lambda rows: rows.cumsum(1) ** 2, Layout.ragged(lengths), x) * weight).sum().backward()
    y = x.detach().clone().requires_grad_()
    loop = [row.cumsum(0) ** 2 for row in y.split(lengths)]
    (torch.cat(loop) * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_no_work_is_done_for_padding() -> None:
    """The function sees real tokens only, and each group of equal rows once."""
    seen: list[tuple[int, ...]] = []

    def look(rows: Tensor) -> Tensor:
        seen.append(tuple(rows.shape[:2]))
        return rows

    each_row(look, Layout.ragged([3, 0, 2, 3, 5]), numbers(13, 1))
    assert seen == [(1, 2), (2, 3), (1, 5)]
