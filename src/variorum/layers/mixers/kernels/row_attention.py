"""Attention of all queries of packed rows, all rows and heads in one call of machine code."""

import math
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.mixers.kernels.row_attention_code import Form, row_attention_kernel
from variorum.layers.native.machine_code import bits, machine
from variorum.layers.native.tally import tell
from variorum.layers.native.writer import LOG2E

WORTH = 2**19
"""Products below which one thread is not helped by another: to call it takes about as long."""

WIDEST = 4096
"""Numbers of a head: what a thread holds of queries and answers lies on its stack, about 2 MB at this width."""


def row_attention(
    q: Float[Tensor, "tokens heads head_dim"],
    k: Float[Tensor, "tokens kv_heads head_dim"],
    v: Float[Tensor, "tokens kv_heads head_dim"],
    offsets: Int64[Tensor, "bounds"],
    *,
    scale: float,
    causal: bool = False,
    out: Float[Tensor, "tokens heads head_dim"] | None = None,
) -> Float[Tensor, "tokens heads head_dim"]:
    """softmax(scale q k^T) v within each row; causal: query i sees the keys up to i.

    Row r is the tokens offsets[r]..offsets[r + 1]; it may have none. Each kv head serves heads / kv_heads heads, one
    after another. q, k, v: of float32 or all of bfloat16, read where they lie (slices of one matrix, say): only the
    last axis has to be contiguous. Sums and the softmax are in float32, weights of bfloat16 are rounded to bfloat16.
    out: where the answer goes, contiguous. Forward only, on a CPU, and llvmlite is needed.

    Blocks of queries are shared out to torch's threads evenly by their cost. A row's answer is the same, bit by bit,
    whatever the threads and the other rows. Keys are met in blocks by the online softmax (Milakov & Gimelshein 2018,
    arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135). The readable form is :func:`row_attention_naive`.

    Raises :class:`VariorumError` for inputs that do not fit, that require a gradient, and without llvmlite.
    """
    kinds = q.dtype, k.dtype, v.dtype
    strides = q.stride(), k.stride(), v.stride()
    fixed = _fixed(q.shape[1:], k.shape[1:], v.shape[1:], strides, kinds, causal)
    _fits(q, k, v, offsets, scale)
    if out is None:
        out = torch.empty(q.shape, dtype=q.dtype)
    elif out.shape != q.shape or out.dtype != q.dtype or not (out.is_cpu and out.is_contiguous()):
        raise _unfit(f"out of {tuple(q.shape)}, {q.dtype}, contiguous, on a CPU", f"{tuple(out.shape)}, {out.dtype}")
    if not out.numel():
        return out
    rows, tokens = offsets.shape[0] - 1, q.shape[0]
    work = tokens * tokens // rows * fixed.width
    threads = torch.get_num_threads() if work > WORTH else 1
    tell("attention", lambda: 4 * fixed.width * int(offsets.diff().square().sum()))
    factor = bits(scale * LOG2E)
    addresses = q.data_ptr(), k.data_ptr(), v.data_ptr(), offsets.data_ptr(), out.data_ptr()
    fixed.run(*addresses, rows, *fixed.numbers, factor, threads)
    return out


class BoundRows:
    """:func:`row_attention` of tensors that stay where they are, as a link of a chain of kernels.

    q (tokens, heads, head_dim), k and v (tokens, kv_heads, head_dim), out like q: as there, and no input is empty.
    """

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, out: Tensor, *, scale: float, causal: bool) -> None:
        self._tokens = len(q)
        strides, kinds = (q.stride(), k.stride(), v.stride()), (q.dtype, k.dtype, v.dtype)
        fixed = _fixed(q.shape[1:], k.shape[1:], v.shape[1:], strides, kinds, causal)
        self.kernel: Callable[..., None] = fixed.run
        self.table = array("q", (q.data_ptr(), k.data_ptr(), v.data_ptr(), 0, out.data_ptr(), 0, *fixed.numbers,
                                 bits(scale * LOG2E)))  # fmt: skip

    def place(self, offsets: Int64[Tensor, "bounds"]) -> None:
        """Where the rows of the next call begin, as in :func:`row_attention`; kept by the caller until then."""
        _check_offsets(offsets, self._tokens)
        self.table[3], self.table[5] = offsets.data_ptr(), len(offsets) - 1


def row_attention_naive(
    q: Float[Tensor, "tokens heads head_dim"],
    k: Float[Tensor, "tokens kv_heads head_dim"],
    v: Float[Tensor, "tokens kv_heads head_dim"],
    offsets: Int64[Tensor, "bounds"],
    *,
    scale: float,
    causal: bool = False,
) -> Float[Tensor, "tokens heads head_dim"]:
    """The twin of :func:`row_attention` that is read: row by row, with all scores of a row, in float32 or wider."""
    wide = torch.promote_types(q.dtype, torch.float32)
    out = torch.empty(q.shape, dtype=wide)
    for first, last in pairwise(offsets.tolist()):
        queries, keys, values = (t[first:last].transpose(0, 1).to(wide) for t in (q, k, v))
        keys, values = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=0) for t in (keys, values))
        scores = scale * (queries @ keys.mT)
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
        out[first:last] = (scores.softmax(dim=-1) @ values).transpose(0, 1)
    return out.to(q.dtype)


class _Fixed(NamedTuple):
    """What calls on tensors that lie alike share.

    run: the kernel.    numbers: kv heads, and strides in bytes.    width: numbers of a token's queries.
    """

    run: Callable[..., None]
    numbers: tuple[int, ...]
    width: int


@lru_cache(maxsize=256)
def _fixed(
    q: Sequence[int], k: Sequence[int], v: Sequence[int], strides: tuple[Sequence[int], ...],
    kinds: tuple[torch.dtype, ...], causal: bool,
) -> _Fixed:  # fmt: skip
    """q, k, v: the shapes (heads, head_dim). Looked up rather than made: a call on a few tokens takes microseconds."""
    if not (len(q) == len(k) == 2 and k == v and q[1] == k[1] > 0 and k[0] and q[0] % k[0] == 0):
        raise _unfit("q (tokens, heads, head_dim), k and v (tokens, kv_heads, head_dim), kv_heads a divisor of heads",
                     f"all but tokens of q {tuple(q)}, k {tuple(k)}, v {tuple(v)}")  # fmt: skip
    if {*kinds} not in ({torch.float32}, {torch.bfloat16}):
        raise _unfit("float32 or bfloat16, of all three", f"{kinds}")
    if q[1] > 1 and any(stride[2] != 1 for stride in strides):
        raise _unfit("numbers of a head that lie one after another", f"strides {strides}")
    if q[1] > WIDEST:
        raise _unfit(f"a head of {WIDEST} numbers at most", f"{q[1]}")
    form = Form(q[1], q[0] // k[0], halves=kinds[0] == torch.bfloat16, causal=causal)
    numbers = k[0], *(step * kinds[0].itemsize for stride in strides for step in stride[:2])
    return _Fixed(row_attention_kernel(machine(), form), numbers, q[0] * q[1])


def _fits(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, scale: float) -> None:
    """Check what may differ from call to call and the kernel takes for granted."""
    tokens = q.shape[0]
    if not (q.is_cpu and k.is_cpu and v.is_cpu and offsets.is_cpu and tokens == k.shape[0] == v.shape[0]):
        raise _unfit("as many tokens of q, k and v, on a CPU", f"{[(len(t), str(t.device)) for t in (q, k, v)]}")
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        raise _unfit("inputs without a gradient", "one that requires it")
    if not 0 < scale < math.inf:
        raise _unfit("a scale above 0", f"{scale}")
    _check_offsets(offsets, tokens)


def _check_offsets(offsets: Tensor, tokens: int) -> None:
    if offsets.dtype != torch.int64 or offsets.ndim != 1 or not offsets.is_contiguous():
        raise _unfit("offsets of int64, contiguous, one axis", f"{offsets.dtype}, {tuple(offsets.shape)}")
    bounds = offsets.tolist()
    if not bounds or bounds[0] != 0 or bounds[-1] != tokens or bounds != sorted(bounds):
        raise _unfit(f"offsets that rise from 0 to {tokens}, the number of tokens", f"{bounds}")


def _unfit(expected: str, found: str) -> VariorumError:
    return VariorumError("row_attention", expected=expected, found=found,
                         do="See row_attention; row_attention_naive has gradients and takes any strides.")  # fmt: skip
