"""Mixers of linear time on long rows: memory and growth of training, and one decode step far into a row.

    python benchmarks/long.py [--only Mamba2 ...] [--rounds 5] [--threads 2]

One row, float32, each mixer with its projections, 512 wide, in 8 heads of 64 where it has heads, in a process of
its own. Memory is what the process's peak grows by in a forward and backward pass over 16,384 tokens. A decode step is
timed in turns at position 100 and at position 100,000, from the states that the mixer has after so many tokens. All
of it runs as the commands of ``variorum`` do, after `variorum.keep_memory()`.
"""

import math
import resource
import sys
from functools import partial
from typing import Any

import torch
from _results import Comparison, Demand, Kind, Result, options
from _timing import Call, Rival, alternate, ready, script, serve, visit

from variorum import keep_memory
from variorum.core import Spec
from variorum.layers.mixers.cosformer import CosFormer
from variorum.layers.mixers.delta import Delta
from variorum.layers.mixers.elu_attention import EluAttention
from variorum.layers.mixers.gated_delta import GatedDelta
from variorum.layers.mixers.gated_linear import GatedLinear
from variorum.layers.mixers.hgrn import HGRN
from variorum.layers.mixers.hgrn2 import HGRN2
from variorum.layers.mixers.lightning_attention import LightningAttention
from variorum.layers.mixers.linear_attention import LinearAttention
from variorum.layers.mixers.lmu import LMU
from variorum.layers.mixers.mamba import Mamba
from variorum.layers.mixers.mamba2 import Mamba2
from variorum.layers.mixers.mlgru import MLGRU
from variorum.layers.mixers.performer import Performer
from variorum.layers.mixers.qrnn import QRNN
from variorum.layers.mixers.retention import Retention
from variorum.layers.mixers.state_space import StateSpace
from variorum.layers.patterns.causal import Causal

DIM, HEADS = 512, 8
LONG, SHORT, GIGABYTES, EXPONENT = 16384, 2048, 2.0, 1.1
NEAR, FAR, RATIO = 100, 100_000, 1.1


def mixers(n: int) -> dict[str, Spec[Any]]:
    """All of them, for rows of n tokens where that is theirs to know."""
    return {
        "LinearAttention": LinearAttention.spec(heads=HEADS),
        "EluAttention": EluAttention.spec(heads=HEADS, pattern=Causal.spec()),
        "Performer": Performer.spec(heads=HEADS, pattern=Causal.spec()),
        "CosFormer": CosFormer.spec(heads=HEADS, causal=True, length=n),
        "Retention": Retention.spec(heads=HEADS, values=DIM),
        "LightningAttention": LightningAttention.spec(heads=HEADS),
        "GatedLinear": GatedLinear.spec(heads=HEADS, keys=DIM),
        "Delta": Delta.spec(heads=HEADS),
        "GatedDelta": GatedDelta.spec(heads=HEADS, keys=DIM, values=DIM),
        "Mamba": Mamba.spec(expand=1),
        "Mamba2": Mamba2.spec(state=DIM // HEADS, expand=1),
        "HGRN": HGRN.spec(),
        "HGRN2": HGRN2.spec(heads=HEADS),
        "QRNN": QRNN.spec(),
        "MLGRU": MLGRU.spec(),
        "LMU": LMU.spec(),
        "StateSpace": StateSpace.spec(length=n),
    }


def built(name: str, n: int) -> Any:
    """The mixer for rows of n tokens, the same every time."""
    torch.manual_seed(0)
    return mixers(n)[name].build(dim=DIM)


def long_rows(name: str, *, quick: bool) -> tuple[dict[str, Call], dict[str, Any]]:
    """No jobs; the gigabytes of a long row, and the power with which the time grows towards it."""
    short, long = (64, 128) if quick else (SHORT, LONG)

    def training(n: int) -> Call:
        mixer, x = built(name, n), torch.randn(1, n, DIM, requires_grad=True)
        return lambda: torch.autograd.grad(mixer(x).sum(), [x, *mixer.parameters()], allow_unused=True)

    training(64)()
    before, call = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, training(long)
    call()
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    calls = {short: training(short), long: call}
    turns = {str(n): partial(_visit, call) for n, call in calls.items()}
    times = alternate(turns, ("training",), rounds=3)["training"]
    power = math.log(min(times[str(long)]) / min(times[str(short)])) / math.log(long / short)
    return {}, {"gigabytes": used, "power": power}


def _visit(call: Call, _job: str) -> float:
    return visit(call, 0.0)


def decoding(name: str, *, quick: bool) -> tuple[dict[str, Call], dict[str, Any]]:
    """A step at each of the positions."""
    positions = (10, 100) if quick else (NEAR, FAR)
    mixer = built(name, positions[-1] + 1).eval()
    torch.set_grad_enabled(False)
    jobs: dict[str, Call] = {}
    for at in positions:
        state = mixer.start(1)
        for piece in torch.randn(1, at, DIM).split(SHORT, dim=1):
            _, state = mixer.advance(piece, state)
        jobs[_position(at)] = partial(mixer.step, torch.randn(1, DIM), state)
    return jobs, {}


def _step(rival: Rival, position: str, _job: str) -> float:
    return rival.visit(position)


def _position(at: int) -> str:
    return f"position {at:,}"


def told(name: str, fact: dict[str, float]) -> str:
    """The verdict on a mixer's long rows."""
    kept = fact["gigabytes"] <= GIGABYTES and fact["power"] <= EXPONENT
    return (f"{name}: {LONG:,} tokens forward and backward add {fact['gigabytes']:.2f} GB at most to the process "
            f"(limit {GIGABYTES:g}); from {SHORT:,} tokens on time grows with the power {fact['power']:.2f} (limit "
            f"{EXPONENT:g}): {'holds' if kept else '**does not hold**'}")  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work, name, threads, *rest = sys.argv[2:]
        keep_memory()
        serve(int(threads), lambda: {"long": long_rows, "decode": decoding}[work](name, quick=bool(rest)))
        return
    parser = options(__doc__, rounds=5)
    parser.add_argument("--only", nargs="+", choices=list(mixers(LONG)), default=list(mixers(LONG)))
    chosen = parser.parse_args()
    common = (str(chosen.threads), *(["--quick"] if chosen.quick else []))
    near, far = map(_position, (10, 100) if chosen.quick else (NEAR, FAR))
    comparisons, notes = [], []
    for name in chosen.only:
        with ready(script(__file__), [("long", name, *common)]) as (_, [fact]):
            notes.append(told(name, fact))
            print(notes[-1], flush=True)
        with ready(script(__file__), [("decode", name, *common)]) as ([rival], _):
            turns = {job: partial(_step, rival, job) for job in (near, far)}
            times = alternate(turns, ("step",), chosen.rounds)["step"]
        comparisons.append(Comparison("A decode step", name, far, times, Demand(Kind.COST, RATIO)))
    Result("long", __doc__ or "", chosen, comparisons, notes).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
