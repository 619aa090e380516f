"""One new token a row, kept and attended to in one call: the readable form, other rows, threads, what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.mixers.kernels import token_code
from variorum.layers.mixers.kernels.decode_step import decode_step, decode_step_naive

LIMITS = {torch.float32: 2e-6, torch.float64: 1e-12, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def fused(batch: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """q, new keys and new values as slices of one matrix."""
    parts = [n * width for n in (heads, kv_heads, kv_heads)]
    return [part.unflatten(1, (-1, width)) for part in torch.randn(batch, sum(parts)).to(dtype).split(parts, dim=1)]


def caches(batch: int, capacity: int, kv_heads: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(batch, capacity, kv_heads, width).to(dtype) for _ in range(2)]


def agree(new: list[Tensor], kept: list[Tensor], lengths: Tensor) -> None:
    """The call gives what the readable form gives of the same numbers in float64, and writes them where it does."""
    exact, wide = [t.double() for t in new], [t.double() for t in kept]
    wanted = decode_step_naive(*exact, *wide, lengths, scale=0.3)
    before = lengths.clone()
    found = decode_step(*new, *kept, lengths, scale=0.3)
    assert found.dtype == new[0].dtype and found.shape == new[0].shape and torch.equal(lengths, before)
    limit = LIMITS[found.dtype] * max(1.0, wanted.abs().max().item() if wanted.numel() else 0.0)
    torch.testing.assert_close(found.double(), wanted, atol=limit, rtol=0)
    assert all(torch.equal(a.double(), b) for a, b in zip(kept, wide, strict=True))


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([(12, 12, 64), (8, 2, 32), (5, 1, 8), (40, 2, 12), (3, 3, 7)]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    lengths=st.lists(st.integers(0, 40), max_size=4),
    spare=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_it_is_the_readable_form(kind, dtype, lengths, spare, seed):
    """Any rows, first tokens, no rows at all; heads that share keys or not, and those that have no machine code."""
    torch.manual_seed(seed)
    heads, kv_heads, width = kind
    kept = caches(len(lengths), max(lengths, default=0) + spare, kv_heads, width, dtype)
    agree(fused(len(lengths), heads, kv_heads, width, dtype), kept, torch.tensor(lengths, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_without_machine_code_torch_does_it(dtype, monkeypatch):
    """Where there is none, and of numbers that it is not written for."""
    if dtype.itemsize != 2:
        monkeypatch.setattr(token_code, "_heads", lambda *told: None)
    agree(fused(3, 4, 2, 16, dtype), caches(3, 20, 2, 16, dtype), torch.tensor([3, 0, 19]))


def test_nothing_need_lie_in_one_piece():
    """Caches that are slices of others, heads before tokens, and new tokens of any stride."""
    new = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in fused(2, 4, 2, 16, torch.float32)]
    kept = [torch.randn(2, 5, 30, 40)[:, 1:3, 4:24, 8:24].transpose(1, 2) for _ in range(2)]
    agree(new, kept, torch.tensor([7, 19]))
    agree(fused(2, 4, 2, 16, torch.float32), kept, torch.tensor([7, 19]))
    agree(new, [torch.randn(2, 2, 20, 16).transpose(1, 2)[:, :, :, ::1] for _ in range(2)], torch.tensor([0, 3]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [(6, 3), (7, 7), (4, 1)])
def test_a_row_is_answered_alike_in_any_company(heads, dtype):
    """Bit for bit what it is alone, by one thread and by more: shares begin amid a row's heads or where rows do."""
    new, kept = fused(5, *heads, 32, dtype), caches(5, 90, heads[1], 32, dtype)
    lengths, threads = torch.tensor([70, 0, 3, 89, 16]), torch.get_num_threads()
    together = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            together.append(decode_step(*new, *kept, lengths, scale=0.2))
    finally:
        torch.set_num_threads(threads)
    for i in range(5):
        own = slice(i, i + 1)
        alone = decode_step(*(t[own] for t in (*new, *kept, lengths)), scale=0.2)
        assert all(torch.equal(found[own], alone) for found in together)


def test_what_is_not_a_number_stays_so():
    """A row with a NaN among its keys is NaN, and no other."""
    new, kept = fused(2, 2, 2, 16, torch.float32), caches(2, 20, 2, 16, torch.float32)
    kept[0][0, 3, 1, 5] = float("nan")
    found = decode_step(*new, *kept, torch.tensor([9, 9]), scale=0.2)
    assert found[0, 1].isnan().all() and not found[0, 0].isnan().any() and not found[1].isnan().any()


def test_a_full_cache_is_refused():
    """And ill-matched tensors; nothing is written then."""
    new, kept = fused(2, 4, 2, 16, torch.float32), caches(2, 8, 2, 16, torch.float32)
    before = [t.clone() for t in kept]
    for lengths in ([3, 8], [-1, 2]):
        with pytest.raises(VariorumError, match="free place of the 8"):
            decode_step(*new, *kept, torch.tensor(lengths), scale=1.0)
    q, key, value = new
    for wrong in (
        (q[:, :3], key, value, *kept), (q, key[:1], value, *kept), (q, key, value.double(), *kept),
        (q, key, value, kept[0][:, :4], kept[1]), (q[..., :8], key, value, *kept),
        (q, key, value, *(t[0] for t in kept)),
    ):  # fmt: skip
        with pytest.raises(VariorumError, match="one type"):
            decode_step(*wrong, torch.tensor([1, 2]), scale=1.0)
    with pytest.raises(VariorumError, match="int64"):
        decode_step(*new, *kept, torch.tensor([1, 2], dtype=torch.int32), scale=1.0)
    assert all(torch.equal(a, b) for a, b in zip(kept, before, strict=True))
