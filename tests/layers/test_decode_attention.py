"""One new token over a long past: machine code beside the readable form, in pages, for any heads and vectors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.mixers.kernels import token_code
from variorum.layers.mixers.kernels.decode_attention import decode_attention, decode_attention_naive
from variorum.layers.mixers.kernels.decode_tiles import attend_tiles
from variorum.layers.mixers.kernels.stream_k import head_shares, shares
from variorum.layers.mixers.kernels.token_code import Heads

LIMITS = {torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def cut(packed: Tensor, pages: list[int]) -> list[Tensor]:
    """Runs of so many tokens, each at a place of its own in memory, and then the rest."""
    found = []
    for page in pages:
        found.append(packed[:page].clone())
        packed = packed[page:]
    return [*found, packed]


def exact(q: Tensor, keys: list[list[Tensor]], values: list[list[Tensor]], scale: float) -> Tensor:
    wide = ([[run.double() for run in row] for row in side] for side in (keys, values))
    return decode_attention_naive(q.double(), *wide, scale=scale)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from([(12, 12, 64), (32, 8, 64), (5, 1, 8), (40, 2, 12), (2, 1, 128), (3, 3, 7)]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    rows=st.lists(st.lists(st.integers(0, 37), max_size=5), max_size=3),
    tile=st.sampled_from([1, 7, 16, 50]),
    workers=st.integers(1, 5),
    schedule=st.sampled_from([shares, head_shares]),
)
def test_it_is_the_readable_form_in_any_pages(kind, dtype, rows, tile, workers, schedule):
    """Rows in pages of any length, none among them; by machine code what all in one piece gives, bit by bit."""
    torch.manual_seed(len(rows))
    heads, kv_heads, width = kind
    q = torch.randn(len(rows), heads, width).to(dtype)
    packed = [[torch.randn(sum(pages), kv_heads, width).to(dtype) for pages in rows] for _ in range(2)]
    whole = [[[row] for row in side] for side in packed]
    pages = [[cut(row, sizes) for row, sizes in zip(side, rows, strict=True)] for side in packed]
    found = decode_attention(q, *pages, scale=0.3, tile=tile, workers=workers, schedule=schedule)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact(q, *whole, 0.3), atol=LIMITS[dtype] * 4, rtol=0)
    if width % 4 == 0:  # torch's own kernel sums by where rows of other widths begin in memory
        assert torch.equal(found, decode_attention(q, *whole, scale=0.3, tile=tile, workers=1))


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("short", [False, True])
def test_machines_with_shorter_vectors(lanes, short):
    """The same numbers, with what other machines have: no products of pairs of bfloat16 either."""
    dtype = torch.bfloat16 if short else torch.float32
    q = torch.randn(2, 6, 32).to(dtype)
    keys, values = ([[torch.randn(n, 2, 32).to(dtype)] for n in (70, 5)] for _ in range(2))
    kind = Heads(32, 2, 3, short, lanes)
    found = attend_tiles(q, keys, values, shares((5, 1), 2, 3), (5, 1), kind, scale=0.3, tile=16)
    torch.testing.assert_close(found.double(), exact(q, keys, values, 0.3), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_without_machine_code_torch_does_it(dtype, monkeypatch):
    """In pages, with shares that begin amid a row's tiles and heads; alike in any company."""
    monkeypatch.setattr(token_code, "_heads", lambda *told: None)
    q = torch.randn(3, 4, 16).to(dtype)
    packed = [[torch.randn(n, 2, 16).to(dtype) for n in (70, 0, 33)] for _ in range(2)]
    pages = [[cut(row, [len(row) // 3, len(row) // 2]) for row in side] for side in packed]
    found = decode_attention(q, *pages, scale=0.3, tile=16, workers=3)
    torch.testing.assert_close(found.double(), exact(q, *pages, 0.3), atol=4 * LIMITS[dtype], rtol=0)
    alone = decode_attention(q[2:], *([side[2:]] for side in packed), scale=0.3, tile=16, workers=1)
    assert torch.equal(found[2:], alone[:1])


def test_nothing_need_lie_in_one_piece():
    """Runs that are slices of other tensors, with heads before tokens, or heads that are not contiguous."""
    q = torch.randn(1, 16, 4).transpose(1, 2)
    wide = torch.randn(2, 5, 90, 40)
    for runs in (wide[:, 1:3, 4:80, 8:24].transpose(1, 2), wide[:, :2, ::2, 1:33:2].transpose(1, 2)):
        keys, values = ([[side]] for side in runs)
        found = decode_attention(q, keys, values, scale=0.3, tile=16, workers=2)
        torch.testing.assert_close(found.double(), exact(q, keys, values, 0.3), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [(12, 12, 64), (8, 1, 32), (8, 2, 32)])
def test_a_row_is_answered_alike_in_any_company(kind, dtype):
    """Bit for bit what it is alone, by one thread and by more, whatever the shares."""
    heads, kv_heads, width = kind
    q = torch.randn(4, heads, width).to(dtype)
    keys, values = ([[torch.randn(n, kv_heads, width).to(dtype)] for n in (90, 0, 1, 33)] for _ in range(2))
    threads = torch.get_num_threads()
    alone = [decode_attention(q[i : i + 1], keys[i : i + 1], values[i : i + 1], scale=0.3, tile=16) for i in range(4)]
    try:
        for count, workers in ((1, 3), (2, 2), (3, 5)):
            torch.set_num_threads(count)
            assert torch.equal(decode_attention(q, keys, values, scale=0.3, tile=16, workers=workers), torch.cat(alone))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_what_is_infinite_or_not_a_number_stays_so(dtype, count):
    """A last value without bounds, alone or one of a pair, and a key that is not a number; of one kv head only."""
    q, keys, values = (torch.randn(n, 2, 32).to(dtype) for n in (1, count, count))
    values[-1, 0, 3] = float("inf")
    found = decode_attention(q, [[keys]], [[values]], scale=0.3, tile=8)[0]
    assert found[0, 3] == float("inf") and found.isfinite().sum() == found.numel() - 1
    keys[-1, 1, 0] = float("nan")
    found = decode_attention(q, [[keys]], [[values]], scale=0.3, tile=8)[0]
    assert found[1].isnan().all() and found[0, 3] == float("inf") and not found[0].isnan().any()


@given(lanes=st.sampled_from([4, 8, 16, 32]), size=st.sampled_from([1, 2, 4]))
def test_sums_of_pairs_are_put_in_order(lanes, size):
    """Numbers that lie in packed pieces come back in their places."""
    if lanes % (2 * size):
        size = lanes // 2
    whole = list(range(2 * lanes))
    first = [n for half in range(2) for n in token_code._packed(2 * lanes, size, half)[::2]]
    assert [first[i] for half in range(2) for i in token_code._unpacked(lanes, size, half)] == whole


def test_large_scores_and_what_is_not_a_number():
    """Scores of 10,000 do not overflow; a NaN among a head's keys makes its answer NaN, and no other."""
    q, keys, values = torch.randn(1, 4, 16), torch.randn(300, 4, 16), torch.randn(300, 4, 16)
    scale = 1e4 / (q[0] * keys).sum(-1).abs().max().item()
    found = decode_attention(q, [[keys]], [[values]], scale=scale, tile=32)
    torch.testing.assert_close(found.double(), exact(q, [[keys]], [[values]], scale), atol=1e-2, rtol=0)
    keys[117, 2, 3] = float("nan")
    found = decode_attention(q, [[keys]], [[values]], scale=0.3, tile=32)
    assert found.isnan().any(-1).tolist() == [[False, False, True, False]] and found[0, 2].isnan().all()


def test_other_numbers_than_those_of_queries_are_refused():
    """Keys of another type or width, which machine code would read as what they are not."""
    q, run = torch.randn(1, 4, 16), torch.randn(3, 2, 16)
    for keys, values in ((run.double(), run), (run, run.bfloat16()), (run[..., :8], run), (run, run[:, :1])):
        with pytest.raises(VariorumError, match="q's width and type"):
            decode_attention(q, [[keys]], [[values]], scale=1.0)
