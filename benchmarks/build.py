"""Building GPT-2 small (124 million parameters) from its Spec, beside a constructor written by hand.

    python benchmarks/build.py [--rounds 9]

The constructor makes the same modules in the same order with the same initial values: from one seed both models come
out equal, number by number, which is checked first. ``cpu``: as a user builds it, values drawn. ``meta``: without
values, so that nothing but the construction itself is left. ``first``: the first build of a fresh process that has
imported everything, values drawn (three rounds).
"""

import subprocess
import sys
from typing import Any

import torch
from _results import Comparison, Demand, Kind, Result, options
from _timing import Call, Rival, alternate, clock, script, serve
from torch import Tensor, nn

from variorum.core import Spec
from variorum.systems.formal_algorithms_transformers import decoder

DIM, DEPTH, HEADS, LENGTH, VOCAB = 768, 12, 12, 1024, 50257
LIMIT = 1.1
FRESH = 3
"""Rounds of fresh processes."""
FROM_SPEC, BY_HAND = "from its spec", "by hand"


class Attention(nn.Module):
    """What variorum's attention holds."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim, self.scale, self.dropout = heads, dim // heads, (dim // heads) ** -0.5, 0.0
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)


class MLP(nn.Module):
    """What variorum's feed-forward network holds."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.activation, self.dropout = nn.functional.gelu, nn.Dropout(0.0)


class Residual(nn.Module):
    """A norm before a branch, dropout after it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(0.0)


class Block(nn.Module):
    """A layer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.mixer, self.mixer_residual = Attention(dim, heads), Residual(dim)
        self.channels, self.channels_residual = MLP(dim), Residual(dim)


class GPT2(nn.Module):
    """The model, its head tied to the embedding as Radford et al. do."""

    def __init__(self, dim: int, depth: int, heads: int, length: int, vocab: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token.weight, std=0.02)
        self.position = nn.Parameter(torch.empty(length, dim))
        nn.init.normal_(self.position, std=0.02)
        self.dropout = nn.Dropout(0.0)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)
        self.head.weight = self.token.weight


def sizes(*, quick: bool) -> tuple[int, ...]:
    return (32, 2, 2, 64, 100) if quick else (DIM, DEPTH, HEADS, LENGTH, VOCAB)


def builder(name: str, *, quick: bool) -> Call:
    dim, depth, heads, length, vocab = sizes(quick=quick)
    if name == BY_HAND:
        return lambda: GPT2(dim, depth, heads, length, vocab)
    spec: Spec[Any] = decoder(dim=dim, depth=depth, heads=heads, length=length).fill(vocab=vocab)
    return spec.but(tied=(("head.linear.weight", "embed.token.weight"),)).build


def parameters(name: str, *, quick: bool) -> list[Tensor]:
    torch.manual_seed(0)
    model = builder(name, quick=quick)()
    assert isinstance(model, nn.Module)
    return sorted(model.parameters(), key=lambda p: (tuple(p.shape), float(p.detach().sum())))


def check(*, quick: bool) -> None:
    """Both models hold equal numbers, or the comparison is none."""
    ours, hand = parameters(FROM_SPEC, quick=quick), parameters(BY_HAND, quick=quick)
    if len(ours) != len(hand) or not all(map(torch.equal, ours, hand)):
        raise RuntimeError("the model from the spec and the one by hand differ: make the one by hand like the other")


def jobs(name: str, *, quick: bool) -> tuple[dict[str, Call], dict[str, Any]]:
    build = builder(name, quick=quick)

    def on_meta() -> None:
        with torch.device("meta"):
            build()

    return {"cpu": build, "meta": on_meta}, {}


def first(name: str, *, threads: int, quick: bool) -> float:
    """Seconds of the first build in a fresh process."""
    told = [str(threads), *(["--quick"] if quick else [])]
    run = subprocess.run([sys.executable, script(__file__), "--first", name, *told], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return float(run.stdout)


def as_worker(mode: str, name: str, threads: str, *rest: str) -> None:
    if mode == "--worker":
        serve(int(threads), lambda: jobs(name, quick=bool(rest)))
        return
    torch.set_num_threads(int(threads))
    build, now = builder(name, quick=bool(rest)), clock()
    start = now()
    build()
    print(now() - start)


def main() -> None:
    if sys.argv[1:2] in (["--worker"], ["--first"]):
        as_worker(*sys.argv[1:])
        return
    chosen = options(__doc__, rounds=9).parse_args()
    check(quick=chosen.quick)
    told = (str(chosen.threads), *(["--quick"] if chosen.quick else []))
    with Rival(script(__file__), FROM_SPEC, *told) as ours, Rival(script(__file__), BY_HAND, *told) as hand:
        ours.answer(), hand.answer()
        times = alternate({FROM_SPEC: ours.visit, BY_HAND: hand.visit}, ["cpu", "meta"], chosen.rounds)

    def fresh(name: str) -> float:
        return first(name, threads=chosen.threads, quick=chosen.quick)

    starts = {name: (lambda _, name=name: fresh(name)) for name in (FROM_SPEC, BY_HAND)}
    times |= alternate(starts, ["first"], 1 if chosen.quick else FRESH)
    held = {"cpu": Demand(Kind.COST, LIMIT)}
    comparisons = [Comparison("GPT-2 small", job, FROM_SPEC, found, held.get(job)) for job, found in times.items()]
    Result("build", __doc__ or "", chosen, comparisons).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
