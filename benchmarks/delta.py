"""The delta rule and additive linear attention on this machine, beside flash-linear-attention's plain-torch forms.

    python benchmarks/delta.py [--lengths 512 2048 8192] [--chunk 32] [--rounds 5] [--threads 2]

All candidates are plain torch and share one process. Recurrences token by token are timed up to 2048 tokens. Needs
fla-core 0.6.0 (extra `parity`).
"""

import importlib.metadata
import math
import runpy
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from _results import Comparison, Result, options
from _timing import Call, Times, alternate, visit
from torch import Tensor

from variorum.layers.mixers.kernels.delta import delta_chunked, delta_recurrent
from variorum.layers.mixers.kernels.linear import linear_chunked

RECURRENT_UP_TO = 2048
OURS = ("delta_chunked", "linear_chunked")
FORWARD, TRAINING = "forward", "forward and backward"


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


def measure(n: int, chunk: int, rounds: int) -> dict[str, Times]:
    """Seconds of every candidate at n tokens, forward and with the backward pass."""
    xs = operands(n, heads=8, width=64)
    calls: dict[tuple[str, str], Call] = {}
    for name, f in candidates(n, chunk).items():
        calls[FORWARD, name] = torch.no_grad()(lambda f=f: f(*xs))
        calls[TRAINING, name] = lambda f=f: torch.autograd.grad(f(*xs).sum(), xs, allow_unused=True)
    last = dict.fromkeys(calls, 0.0)

    def go(job: str, name: str) -> float:
        last[job, name] = visit(calls[job, name], last[job, name])
        return last[job, name]

    names = dict.fromkeys(name for _, name in calls)
    return alternate({name: (lambda job, name=name: go(job, name)) for name in names}, (FORWARD, TRAINING), rounds)


def compared(measured: dict[int, dict[str, Times]]) -> list[Comparison]:
    """A table for each of ours and each pass, a column for each length."""
    found = []
    for ours in OURS:
        for job in (FORWARD, TRAINING):
            for n, jobs in measured.items():
                times = {name: t for name, t in jobs[job].items() if ("linear" in name) == ("linear" in ours)}
                found.append(Comparison(f"{ours}, {job}", f"n = {n}", ours, times))
    return found


def exponents(measured: dict[int, dict[str, Times]]) -> list[str]:
    """How the time of each candidate grows from the shortest to the longest length that it was measured at."""
    notes = []
    for job in (FORWARD, TRAINING):
        grown = []
        for name in measured[min(measured)][job]:
            known = {n: median(jobs[job][name]) for n, jobs in measured.items() if name in jobs[job]}
            first, last = min(known), max(known)
            if last > first:
                grown.append(f"{name} {math.log(known[last] / known[first]) / math.log(last / first):.2f}")
        notes += [f"{job}: time grows as a power of the length, {', '.join(grown)}"] if grown else []
    return notes


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--chunk", type=int, default=32)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(chosen.threads)
    lengths = [64, 128] if chosen.quick else chosen.lengths
    measured = {n: measure(n, chosen.chunk, chosen.rounds) for n in lengths}
    notes = [f"float32, chunks of {chosen.chunk}, 8 heads 64 wide", *exponents(measured)]
    Result("delta", __doc__ or "", chosen, compared(measured), notes).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
