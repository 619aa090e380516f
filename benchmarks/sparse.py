"""Block-sparse attention on this machine, beside full attention, a dense mask and torch's flex attention.

    python benchmarks/sparse.py [--lengths 8192] [--share 8] [--size 256] [--rounds 5] [--threads 2]

One row of 8 heads of 64 numbers, float32, each candidate in a process of its own after `variorum.keep_memory()`, over
two patterns that keep about one block of keys in ``share``: a window, and a smaller window with a first token that sees
all and is seen by all. Ours has to reach half of the speed that the share kept would allow: 4 times that of full
attention at one block in eight. Flex attention is timed forward, as torch runs it on a processor: compiled, and only
where it compiles.
"""

import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from _results import Comparison, Demand, Kind, Result, options
from _timing import FORWARD, TRAINING, Call, alternate, passes, ready, script, serve
from torch import Tensor

from variorum import keep_memory
from variorum.layers.mixers.kernels.block_sparse import BlockMask, block_sparse
from variorum.layers.patterns.global_window import GlobalWindow

HEADS, WIDTH = 8, 64
OURS, FULL, MASKED, FLEX = "block_sparse", "full attention", "full attention with a mask", "flex attention, compiled"
SCALE = WIDTH**-0.5


def window(n: int, share: int, size: int, tokens: int) -> GlobalWindow:
    """So many first tokens that see all, and a window: n / (share * size) blocks for most blocks of queries."""
    beside = n // (share * size) - 1 - tokens
    return GlobalWindow(left=(beside - beside // 2) * size, right=beside // 2 * size, tokens=tokens)


def dense(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """torch's fused attention of (1, n, heads, width)."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)


def prepare(candidate: str, n: int, share: int, size: int, tokens: int) -> tuple[dict[str, Call], dict[str, Any]]:
    """The jobs of a candidate at n tokens, and the share of blocks that is kept."""
    torch.manual_seed(0)
    look = window(n, share, size, tokens)
    mask = BlockMask.of(look, n, size)
    xs = [torch.randn(1, n, HEADS, WIDTH) for _ in range(3)]
    where = torch.arange(n)
    allowed = look.allowed(where, where)
    runs: dict[str, Callable[..., Tensor]] = {
        OURS: lambda q, k, v: block_sparse(q, k, v, mask, scale=SCALE, seen=look.allowed),
        FULL: dense,
        MASKED: lambda q, k, v: dense(q, k, v, allowed),
    }
    jobs = flex(look, xs, size) if candidate == FLEX else passes(runs[candidate], xs)
    return jobs, {"kept": mask.share, "jobs": list(jobs)}


def flex(look: GlobalWindow, xs: list[Tensor], size: int) -> dict[str, Call]:
    """Flex attention over the same pattern; no job where this torch cannot compile it for a processor."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    left, right, tokens, n = look.left, look.right, look.tokens, xs[0].shape[1]

    def seen(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return ((i - j <= left) & (j - i <= right)) | (i < tokens) | (j < tokens)

    mask = create_block_mask(seen, None, None, n, n, device="cpu", BLOCK_SIZE=size)
    q, k, v = (x.transpose(1, 2).contiguous() for x in xs)
    job = torch.no_grad()(partial(torch.compile(flex_attention), q, k, v, block_mask=mask))
    try:
        job()
    except Exception as error:  # whatever the compiler could not do is told, and the rest is measured
        print(f"flex attention is left out: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        return {}
    return {FORWARD: job}


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        candidate, *numbers = sys.argv[2:]
        n, share, size, tokens, threads = map(int, numbers)
        keep_memory()
        serve(threads, lambda: prepare(candidate, n, share, size, tokens))
        return
    parser = options(__doc__, rounds=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192])
    parser.add_argument("--share", type=int, default=8, help="one block of keys in so many is kept")
    parser.add_argument("--size", type=int, default=256, help="of a block")
    chosen = parser.parse_args()
    lengths, size = ([512], 32) if chosen.quick else (chosen.lengths, chosen.size)
    comparisons, notes = [], [f"float32, {HEADS} heads {WIDTH} wide, blocks of {size}"]
    for n, tokens in product(lengths, (0, 1)):
        names = [OURS, FULL, MASKED, *([] if chosen.quick else [FLEX])]
        told = [(who, *map(str, (n, chosen.share, size, tokens, chosen.threads))) for who in names]
        column = f"{'a window and a first token' if tokens else 'a window'}, n = {n}"
        with ready(script(__file__), told) as (rivals, facts):
            kept = facts[0]["kept"]
            notes.append(f"{column}: {kept:.3f} of all blocks are kept")
            visits = {who: rival.visit for who, rival in zip(names, rivals, strict=True)}
            for job in (FORWARD, TRAINING):
                able = {who: go for (who, go), fact in zip(visits.items(), facts, strict=True) if job in fact["jobs"]}
                times = alternate(able, (job,), chosen.rounds)[job]
                others = {who: seconds for who, seconds in times.items() if who in (OURS, FULL)}
                demand = Demand(Kind.SPEED, round(0.5 / kept, 2)) if n == 8192 else None
                comparisons.append(Comparison(f"beside full attention, {job}", column, OURS, others, demand))
                rest = {who: seconds for who, seconds in times.items() if who != FULL}
                comparisons.append(Comparison(f"beside others over the same pattern, {job}", column, OURS, rest))
    Result("sparse", __doc__ or "", chosen, comparisons, notes).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
