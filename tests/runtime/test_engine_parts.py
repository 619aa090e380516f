"""What the engine's layers are made of beside products: norms behind them, windows that move on, large pages."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.layers.native.chain import Chain
from variorum.layers.native.large_pages import in_large_pages
from variorum.runtime.engine.kernels.product import Normed
from variorum.runtime.engine.kernels.row_norm import bound_norm
from variorum.runtime.engine.moving_window import moved_on


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("adds", [True, False])
@settings(max_examples=30)
@given(rows=st.integers(0, 6), dim=st.integers(1, 70), threads=st.integers(1, 3))
def test_a_norm_is_its_definition(centred: bool, adds: bool, rows: int, dim: int, threads: int) -> None:
    torch.manual_seed(dim)
    x, more = torch.randn(rows, dim), torch.randn(rows, dim)
    gain, shift = torch.randn(dim), torch.randn(dim)
    apart = x - x.mean(-1, keepdim=True) if centred else x
    wanted = apart / (apart.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain + shift + (more if adds else 0)
    out = torch.empty_like(x)
    Chain([bound_norm(Normed(centred, 1e-5), x, gain, shift, out, more if adds else None)])(threads)
    torch.testing.assert_close(out, wanted, rtol=1e-5, atol=1e-5)


@given(reach=st.integers(1, 5), steps=st.integers(1, 200), rows=st.integers(1, 3))
@settings(max_examples=20)
def test_a_window_moves_on(reach: int, steps: int, rows: int) -> None:
    """It is the last tokens at every step, whatever has been written before."""
    kept, window = torch.randn(rows, reach, 2), None
    for step in range(steps):
        window = kept[:, -reach:] if window is None else window
        used = step % reach
        seen, window = moved_on(window, used)
        new = torch.randn(rows, 2)
        seen[:, used] = new
        assert torch.equal(seen[:, :used], kept[:, kept.shape[1] - used :])
        kept = torch.cat([kept, new[:, None]], 1)
        assert torch.equal(window, kept[:, -reach:])


def test_whoever_goes_on_from_a_window_again_has_one_of_his_own() -> None:
    first = torch.randn(1, 3, 2)
    seen, one = moved_on(first, 2)
    seen[:, 2] = 1.0
    again, other = moved_on(one, 2)
    again[:, 2] = 2.0
    fork, third = moved_on(one, 2)
    fork[:, 2] = 3.0
    assert other[0, :, 0].tolist()[1:] == [1.0, 2.0] and third[0, :, 0].tolist()[1:] == [1.0, 3.0]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=6))
def test_tensors_in_large_pages_keep_their_numbers(sizes: list[int]) -> None:
    """Small ones lie beside each other, large ones alone; none lies in another's place."""
    plain = [torch.randint(256, (size,), dtype=torch.uint8) for size in sizes]
    kept = [in_large_pages(tensor) for tensor in plain]
    assert all(torch.equal(a, b) and b.is_contiguous() for a, b in zip(plain, kept, strict=True))
    turned = torch.randn(6, 5).T
    assert torch.equal(in_large_pages(turned), turned) and in_large_pages(turned).data_ptr() % 64 == 0
