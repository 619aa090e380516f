"""One new token over a long past: ours beside reading the cache, and beside torch's attention.

    python benchmarks/long_decode.py [--lengths 32768 131072] [--rounds 7] [--threads 2]

The attention of one layer while a token is written: 12 heads 64 wide as GPT-2 has, 32 heads over 8 kv heads, float32
and bfloat16; and a ragged batch, one context of the length and seven of 512, with a single kv head. "reading alone" is
the sum of all numbers of the cache, as torch takes it: what memory gives. torch's attention is its fused kernel, of the
ragged batch row by row or padded; "a head, a task" is ours without equal shares.

What keeps ours from reading alone, measured on two cores of a Zen 4 server whose memory gives them 25 to 50 GB/s, by
the hour. Arithmetic: with keys and values in a core's own cache a core does 63 GB/s of the 12 heads, 35 of the 32
heads, 29 of them in bfloat16, and 22 of the ragged batch, where the products alone (8 queries a key, one vector a
cycle) allow 27; that batch at 32,768 lies mostly in the cache of all cores, which gives 50 to 90, more than two cores
multiply. Overlap: beside so many products a core looks only some 20 lines ahead, and its own prefetcher is not driven
as by a loop that only reads; so what comes is asked for, and that ends at about 17 GB/s a core, 24 lines under way for
90 ns each. Where plain reading gave 48 GB/s, a loop with one product a number read 45 without asking and 39 with,
scores 32 and 36; where it gives 25 to 30, all of them read as fast as reading alone. Keys of the 12 heads are read at
four places at once: 0.91 of reading alone became 0.98 side by side, with the same bits; where queries share keys, two
places changed nothing that could be told from noise. A call also costs 0.06 to 0.1 ms beside its kernel.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from _results import Comparison, Demand, Kind, Result, options
from _timing import Call, Times, alternate, ready, script, serve
from torch import Tensor

from variorum.layers.mixers.kernels.decode_attention import decode_attention
from variorum.layers.mixers.kernels.stream_k import head_shares

OURS, READING, TORCH, PADDED, TASKS = "variorum", "reading alone", "torch", "torch, padded", "variorum, a head, a task"
DECODE, SHORT = "decode", 512
OF_BANDWIDTH = 0.9


class Shape(NamedTuple):
    """Heads, kv heads, their width, what numbers are kept in, and how many short contexts stand beside the long one."""

    heads: int
    kv_heads: int
    width: int
    dtype: torch.dtype = torch.float32
    short: int = 0

    def lengths(self, n: int) -> list[int]:
        """The contexts of a batch."""
        return [n, *[min(n, SHORT)] * self.short]


SHAPES = {
    "12 heads of 64, float32": Shape(12, 12, 64),
    "32 heads over 8 of 64, float32": Shape(32, 8, 64),
    "32 heads over 8 of 64, bfloat16": Shape(32, 8, 64, torch.bfloat16),
    f"8 heads over 1 of 128, seven more of {SHORT}": Shape(8, 1, 128, short=7),
}


def prepare(shape: Shape, candidate: str, n: int) -> tuple[dict[str, Call], dict[str, Any]]:
    """The one job of a candidate; a cache lies as it does in a state, heads beside one another."""
    torch.manual_seed(0)
    lengths = shape.lengths(n)
    q = torch.randn(len(lengths), shape.heads, shape.width).to(shape.dtype)
    cached = [[torch.randn(m, shape.kv_heads, shape.width).to(shape.dtype) for m in lengths] for _ in range(2)]
    runs = [[[row] for row in rows] for rows in cached]
    scale = shape.width**-0.5
    calls: dict[str, Call] = {
        OURS: lambda: decode_attention(q, *runs, scale=scale),
        TASKS: lambda: decode_attention(q, *runs, scale=scale, schedule=head_shares),
        READING: lambda: [row.sum() for rows in cached for row in rows],
        TORCH: lambda: [_fused(q[i : i + 1], *(rows[i][None] for rows in cached)) for i in range(len(lengths))],
    }
    if candidate == PADDED:
        calls[PADDED] = padded(q, cached, lengths)
    return {DECODE: torch.no_grad()(calls[candidate])}, {}


def padded(q: Tensor, cached: Sequence[Sequence[Tensor]], lengths: Sequence[int]) -> Call:
    """The batch as one tensor, padding masked."""
    keys, values = (torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True) for rows in cached)
    mask = (torch.arange(keys.shape[1]) < torch.tensor(lengths)[:, None])[:, None, None]
    return lambda: _fused(q, keys, values, attn_mask=mask)


def _fused(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
    pair = (t.transpose(1, 2) for t in (k, v))
    return F.scaled_dot_product_attention(q.unsqueeze(2), *pair, enable_gqa=q.shape[1] != k.shape[2], **more)


def measured(name: str, n: int, chosen: Namespace) -> Times:
    """candidate -> seconds by round, each in a process of its own."""
    who = [OURS, READING, TORCH, *([PADDED, TASKS] if SHAPES[name].short else [])]
    with ready(script(__file__), [(name, each, str(n), str(chosen.threads)) for each in who]) as (rivals, _):
        visits = {each: rival.visit for each, rival in zip(who, rivals, strict=True)}
        return alternate(visits, (DECODE,), chosen.rounds)[DECODE]


def comparisons(name: str, n: int, chosen: Namespace) -> list[Comparison]:
    """Ours beside reading alone, and beside other ways of attending."""
    times = measured(name, n, chosen)
    reading = {each: times[each] for each in (OURS, READING)}
    others = {each: seconds for each, seconds in times.items() if each != READING}
    least = 1.4 if SHAPES[name].short else 1.0
    return [
        Comparison(f"{name}: beside memory", f"n = {n}", OURS, reading, Demand(Kind.SPEED, OF_BANDWIDTH)),
        Comparison(f"{name}: beside others", f"n = {n}", OURS, others, Demand(Kind.SPEED, least)),
    ]


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        name, candidate, n, threads = sys.argv[2:]
        serve(int(threads), lambda: prepare(SHAPES[name], candidate, int(n)))
        return
    parser = options(__doc__, rounds=7)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32_768, 131_072])
    chosen = parser.parse_args()
    lengths = [300] if chosen.quick else chosen.lengths
    found = [comparison for name in SHAPES for n in lengths for comparison in comparisons(name, n, chosen)]
    notes = [
        f"{name}, n = {n}: {sum(SHAPES[name].lengths(n)) * size(SHAPES[name]) / 1e6:.0f} MB of keys and values a token"
        for name in SHAPES
        for n in lengths
    ]
    Result("long_decode", __doc__ or "", chosen, sorted(found, key=lambda c: c.table), notes).write(
        chosen.results, chosen.page
    )


def size(shape: Shape) -> int:
    """Bytes that are kept of one token."""
    return 2 * shape.kv_heads * shape.width * shape.dtype.itemsize


if __name__ == "__main__":
    main()
