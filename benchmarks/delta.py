"""The delta rule and additive linear attention on this machine, beside flash-linear-attention's plain-torch forms.

    python benchmarks/delta.py [--lengths 512 2048 8192] [--chunk 32] [--rounds 7] [--threads 2]

All candidates of one length take turns in rounds, in a new order each; each visit begins with a call that is not timed.
Times are medians over rounds, ratios medians of each round's own ratio. With one thread the clock is the process's own
processor time, which other processes hardly disturb; with more it is the wall's. Recurrences token by token are timed
up to 2048 tokens. Needs fla-core 0.6.0 (extra `parity`).
"""

import argparse
import importlib.metadata
import math
import random
import runpy
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.layers.mixers.kernels.delta import delta_chunked, delta_recurrent
from variorum.layers.mixers.kernels.linear import linear_chunked

Call = Callable[[], object]
RECURRENT_UP_TO = 2048
OURS = ("delta_chunked", "linear_chunked")


def reference(op: str) -> dict[str, Any]:
    """What fla's naive.py of an operation defines, run by path: the package cannot be imported without triton."""
    files = importlib.metadata.files("fla-core") or []
    return runpy.run_path(next(str(f.locate()) for f in files if f.as_posix() == f"fla/ops/{op}/naive.py"))


def candidates(n: int, chunk: int) -> dict[str, Callable[..., Tensor]]:
    delta, linear = reference("delta_rule"), reference("linear_attn")

    def turned(f: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., Tensor]:
        return lambda *xs: f(*(x.transpose(1, 2) for x in xs))[0]

    chunked: dict[str, Callable[..., Tensor]] = {
        "delta_chunked": lambda *xs: delta_chunked(*xs, chunk=chunk)[0],
        "fla delta chunkwise": turned(delta["delta_rule_chunkwise"]),
        "linear_chunked": lambda q, k, v, beta: linear_chunked(q, k, v, chunk=chunk)[0],
        "fla linear chunk": lambda q, k, v, beta: linear["naive_chunk_linear_attn"](q, k, v),
    }
    recurrent: dict[str, Callable[..., Tensor]] = {
        "delta_recurrent": lambda *xs: delta_recurrent(*xs)[0],
        "fla delta recurrence": turned(delta["delta_rule_recurrence"]),
    }
    return chunked | (recurrent if n <= RECURRENT_UP_TO else {})


def operands(n: int, heads: int, width: int) -> list[Tensor]:
    q, k, v = (torch.randn(1, n, heads, width) for _ in range(3))
    return [x.requires_grad_() for x in (q, F.normalize(k, dim=-1), v, torch.rand(1, n, heads))]


def rounds(calls: dict[str, Call], count: int) -> dict[str, list[float]]:
    """Milliseconds of each call in each round."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name in random.sample(list(calls), len(calls)):
            calls[name]()  # whatever ran before has the caches and the allocator to itself
            start = clock()
            calls[name]()
            seconds[name].append(1e3 * (clock() - start))
    return seconds


def measure(n: int, chunk: int, count: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """(forward, forward and backward) of every candidate at n tokens."""
    xs = operands(n, heads=8, width=64)

    def forward(f: Callable[..., Tensor]) -> Call:
        return torch.no_grad()(lambda: f(*xs))

    def training(f: Callable[..., Tensor]) -> Call:
        return lambda: torch.autograd.grad(f(*xs).sum(), xs, allow_unused=True)

    named = candidates(n, chunk)
    return (
        rounds({name: forward(f) for name, f in named.items()}, count),
        rounds({name: training(f) for name, f in named.items()}, count),
    )


def show(title: str, times: dict[int, dict[str, list[float]]]) -> None:
    lengths, names = sorted(times), list(times[min(times)])
    print(
        f"\n{title}, ms" + " " * (26 - len(title)) + "".join(f"{f'n={n}':>12}" for n in lengths) + f"{'exponent':>12}"
    )
    for name in names:
        known = {n: median(times[n][name]) for n in lengths if name in times[n]}
        first, last = min(known), max(known)
        exponent = math.log(known[last] / known[first]) / math.log(last / first) if last > first else math.nan
        cells = "".join(f"{known[n]:>12.1f}" if n in known else f"{'-':>12}" for n in lengths)
        print(f"{name:<30}{cells}{exponent:>12.2f}")
    for ours in OURS:
        for name in names:
            if name in OURS or name.startswith("fla linear") != ours.startswith("linear"):
                continue
            ratios = [median(b / a for a, b in zip(times[n][ours], times[n][name], strict=True))
                      if name in times[n] else math.nan for n in lengths]  # fmt: skip
            print(
                f"{f'{name} / {ours}':<44}"[:42]
                + "".join(f"{'-':>12}" if math.isnan(r) else f"{r:>11.1f}x" for r in ratios)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, chunk {options.chunk}, float32, 8 heads of width 64")
    measured = {n: measure(n, options.chunk, options.rounds) for n in options.lengths}
    show("forward", {n: forward for n, (forward, _) in measured.items()})
    show("forward + backward", {n: training for n, (_, training) in measured.items()})


if __name__ == "__main__":
    main()
