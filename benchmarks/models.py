"""Training step and inference of the plain GPT, BERT and ViT, beside the same shapes of others.

    python benchmarks/models.py [--only GPT BERT ViT] [--modes eager compiled] [--rounds 7] [--minutes 1.5]

Others: torch written by hand, transformers, x-transformers; all with torch's attention, without dropout. A training
step is forward, cross-entropy, backward and fused AdamW on one fixed batch, in float32 and under bfloat16 autocast;
inference is the forward pass in float32. Compiled: torch.compile with its defaults, of each library's model alike.
Needs transformers and x-transformers (extra `parity`) and, for compiled, a C++ compiler.
"""

import math
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from _results import Comparison, Demand, Kind, Result, options
from _timing import Call, Rival, alternate, script, serve

JOBS = ("inference fp32", "training fp32", "training bf16")
TOGETHER = 2
"""Processes that get ready, and compile, at the same time."""


def prepare(model: str, library: str, mode: str, *, quick: bool) -> tuple[dict[str, Call], dict[str, Any]]:
    """The jobs of one candidate, and its number of parameters."""
    import torch
    import torch.nn.functional as F
    from _rivals import LIBRARIES, SHAPES

    torch.manual_seed(0)
    shape = SHAPES[model].tiny() if quick else SHAPES[model]
    inputs, targets = shape.batch_of()
    plain = LIBRARIES[library](model, shape)
    net = torch.compile(plain, dynamic=False) if mode == "compiled" else plain
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-4, fused=True)
    losses: list[float] = []

    def infer() -> None:
        plain.eval()
        with torch.inference_mode():
            net(inputs)

    def train(*, bf16: bool) -> None:
        plain.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(net(inputs).flatten(0, -2), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())

    for _ in range(3):
        train(bf16=False)
    if not (all(map(math.isfinite, losses)) and losses[-1] < losses[0]):
        raise RuntimeError(f"{library} {model} does not learn its one batch: {losses}")
    jobs: dict[str, Call] = {"inference fp32": infer, "training fp32": lambda: train(bf16=False),
                             "training bf16": lambda: train(bf16=True)}  # fmt: skip
    return jobs, {"parameters": sum(p.numel() for p in plain.parameters())}


@contextmanager
def ready(candidates: list[tuple[str, ...]]) -> Iterator[tuple[list[Rival], list[dict[str, Any]]]]:
    """A process for each candidate, all prepared; a few get ready at a time."""
    with ExitStack() as stack:
        rivals: list[Rival] = []
        facts: list[dict[str, Any]] = []
        for arguments in candidates:
            rivals.append(stack.enter_context(Rival(script(__file__), *arguments)))
            if len(rivals) - len(facts) == TOGETHER:
                facts.append(rivals[len(facts)].answer())
        facts += [rival.answer() for rival in rivals[len(facts) :]]
        yield rivals, facts


def measure(model: str, chosen: Namespace) -> tuple[list[Comparison], str]:
    """The comparisons of one model, eager and compiled measured in the same rounds."""
    from _rivals import LIBRARIES, SAYS

    modes, told = chosen.modes, (str(chosen.threads), *(["--quick"] if chosen.quick else []))
    labels = [(library, mode) for mode in modes for library in LIBRARIES]
    with ready([(model, library, mode, *told) for library, mode in labels]) as (rivals, facts):
        visits = {f"{library}, {mode}": rival.visit for (library, mode), rival in zip(labels, rivals, strict=True)}
        times = alternate(visits, JOBS, chosen.rounds, seconds=60 * chosen.minutes)
    sizes = {library: fact["parameters"] / 1e6 for (library, _), fact in zip(labels, facts, strict=True)}
    found = [
        Comparison(
            table=f"{SAYS[model]}, {mode}",
            column=job,
            ours="variorum",
            times={library: times[job][f"{library}, {mode}"] for library in LIBRARIES},
            demand=Demand(Kind.SPEED, 1.0),
        )
        for mode in modes
        for job in JOBS
    ]
    return found, f"{model}, million parameters: {', '.join(f'{name} {size:.2f}' for name, size in sizes.items())}"


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        model, library, mode, threads, *rest = sys.argv[2:]
        serve(int(threads), lambda: prepare(model, library, mode, quick=bool(rest)))
        return
    parser = options(__doc__, rounds=7)
    parser.add_argument("--only", nargs="+", choices=("GPT", "BERT", "ViT"), default=["GPT", "BERT", "ViT"])
    parser.add_argument("--modes", nargs="+", choices=("eager", "compiled"), default=["eager", "compiled"])
    parser.add_argument(
        "--minutes", type=float, default=1.5, help="no round of a model begins later, but for the first 3"
    )
    chosen = parser.parse_args()
    comparisons, notes = [], []
    for model in chosen.only:
        found, note = measure(model, chosen)
        comparisons += found
        notes.append(note)
        print(note, flush=True)
    Result("models", __doc__ or "", chosen, comparisons, notes).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
