"""Writing text with GPT-2 small, and with Gemma 3 from its file, beside the engines that others use for it.

    python benchmarks/decode.py [--batches 1 8] [--rounds 5] [--threads 2] [--only NAME ...]

GPT-2 small (12 layers, 768 wide, vocabulary of 50257) with one set of random weights in every library; a prompt of 64
tokens, then 128 more, chosen greedily; times are of the whole, prompt included. Memory is read in the same rounds: a
candidate's share of that bandwidth counts the weights of blocks and head once for each step. "int8" has a scale for
each output, "int8-grouped" one for each 32 weights, as files of llama.cpp have. Libraries that are not
installed (llama-cpp-python, openvino, onnxruntime, transformers) are left out and named in the notes. Gemma-3-270M is
measured if the four packages of its parts are there; its weights are under the Gemma terms of use
(https://ai.google.dev/gemma/terms), and are neither kept nor passed on.

What keeps ours from memory's speed at batch 1, measured on two cores of a Zen 4 server while plain reading gave 40 to
45 GB/s: of the 5.6 ms of a token at 8 bits the layers took 3.2, 0.4 of them attention, whose cache the share does not
count, and the head 1.2, at 32 GB/s: what is multiplied is asked for beforehand, and a core alone asks for 17 GB/s at
most (see ``long_decode``). Python around these two calls took 1.0; in a model small enough for the processor's caches,
which weights that pass through them do not empty of what Python needs, it takes 0.35.
"""

import sys
from argparse import Namespace
from functools import partial
from typing import Any, NamedTuple

import _decoders as d
import torch
from _results import Comparison, Demand, Kind, Result, options
from _timing import Call, Times, alternate, installed, ready, script, serve, spread

READING = "reading memory"
AGREE = 4
"""Tokens at the beginning of a row that a candidate in float32 has to share with ours."""


class Candidate(NamedTuple):
    """How it is made, what has to be installed, the bits of its weights; exact: its first tokens must be ours."""

    make: d.Make
    needs: tuple[str, ...]
    bits: float
    exact: bool = False


HF, ONNX, OPENVINO, LLAMA = (
    ("transformers",),
    ("onnxruntime", "onnxscript", "transformers"),
    ("openvino", "onnxscript", "transformers"),
    ("llama_cpp", "gguf", "transformers"),
)
CANDIDATES = {
    "variorum, float32": Candidate(partial(d.variorum, precision="float32"), HF, 32, exact=True),
    "variorum, bfloat16": Candidate(partial(d.variorum, precision="bfloat16"), HF, 16),
    "variorum, int8": Candidate(partial(d.variorum, precision="int8"), HF, 8),
    "variorum, int8-grouped": Candidate(partial(d.variorum, precision="int8-grouped"), HF, 8.5),
    "transformers, float32": Candidate(partial(d.transformers, dtype=torch.float32), HF, 32, exact=True),
    "transformers, bfloat16": Candidate(partial(d.transformers, dtype=torch.bfloat16), HF, 16),
    "onnxruntime, float32": Candidate(partial(d.onnxruntime, eight_bits=False), ONNX, 32, exact=True),
    "onnxruntime, int8": Candidate(partial(d.onnxruntime, eight_bits=True), ONNX, 8),
    "OpenVINO, float32": Candidate(partial(d.openvino, precision="f32"), OPENVINO, 32, exact=True),
    "OpenVINO, bfloat16": Candidate(partial(d.openvino, precision="bf16"), OPENVINO, 16),
    "llama.cpp, F32": Candidate(partial(d.llamacpp, kind="F32"), LLAMA, 32),
    "llama.cpp, BF16": Candidate(partial(d.llamacpp, kind="BF16"), LLAMA, 16),
    "llama.cpp, Q8_0": Candidate(partial(d.llamacpp, kind="Q8_0"), LLAMA, 8.5),
}
GEMMA = {
    "variorum, int8-grouped": Candidate(partial(d.gemma_of_ours, precision="int8-grouped"), ("gguf", *d.GEMMA), 8.5),
    "llama.cpp, as the file has it": Candidate(d.gemma_of_llamacpp, ("llama_cpp", *d.GEMMA), 8),
}
MODELS = {"GPT-2 small": CANDIDATES, "Gemma-3-270M": GEMMA}
DEMANDS = {("GPT-2 small", 1, 8): 1.1, ("GPT-2 small", 1, 32): 1.0, ("GPT-2 small", 8, 32): 1.0,
           ("Gemma-3-270M", 1, 8): 1.0}  # fmt: skip
"""How many times as fast as the fastest of the others with weights of as many bits, by model, rows and bits."""
OF_ALL = {("GPT-2 small", 8): 1.3}
"""How many times as fast as the fastest of all others, at whatever bits."""
OF_READING = {("GPT-2 small", 1): 0.75}
"""The share of the bandwidth of memory, read in the same rounds, at 8 bits."""


def prepare(
    model: str, name: str, threads: int, batches: list[int], *, quick: bool
) -> tuple[dict[str, Call], dict[str, Any]]:
    """The jobs of one candidate, one for each number of rows; and the tokens that it begins with."""
    torch.set_num_threads(threads)
    shape = d.Shape().tiny() if quick else d.Shape()
    write = d.reading(shape, threads) if name == READING else MODELS[model][name].make(shape, threads)
    found = write(shape.prompts(1))
    if [len(row) for row in found] != [shape.new]:
        raise RuntimeError(f"{name}: {[len(row) for row in found]} tokens written, {shape.new} asked for")
    jobs = {f"batch {rows}": partial(write, shape.prompts(rows)) for rows in batches}
    return jobs, {"begins": [int(token) for token in found[0][:AGREE]]}


def measure(model: str, names: list[str], chosen: Namespace) -> tuple[dict[str, Times], list[str]]:
    """job -> candidate -> seconds, memory among the candidates; and notes."""
    told = (str(chosen.threads), ",".join(map(str, chosen.batches)), *(["--quick"] if chosen.quick else []))
    jobs = [f"batch {rows}" for rows in chosen.batches]
    with ready(script(__file__), [(model, name, *told) for name in [*names, READING]]) as (rivals, facts):
        times = alternate({n: rival.visit for n, rival in zip([*names, READING], rivals, strict=True)}, jobs,
                          chosen.rounds)  # fmt: skip
    exact = {n: f["begins"] for n, f in zip(names, facts, strict=False) if MODELS[model][n].exact}
    if any(begins != next(iter(exact.values())) for begins in exact.values()):
        raise RuntimeError(f"candidates in float32 write other tokens: {exact}")
    return times, [_of_bandwidth(model, job, times[job], chosen) for job in jobs]


def _of_bandwidth(model: str, job: str, times: Times, chosen: Namespace) -> str:
    """A note: tokens a second, and for GPT-2 the share of the bandwidth read in the same rounds."""
    shape, rows = d.Shape().tiny() if chosen.quick else d.Shape(), int(job.split()[1])
    speed = d.GIGABYTE / spread(times[READING])[1]
    told = []
    for name, seconds in times.items():
        if name == READING:
            continue
        middle = spread(seconds)[1]
        text = f"{name} {rows * shape.new / middle:.0f}"
        if model == "GPT-2 small":
            share = shape.read * MODELS[model][name].bits / 8 * shape.new / middle / speed
            text += f" ({100 * share:.0f}%)"
        told.append(text)
    return f"{model}, {job}: memory gave {speed / 1e9:.1f} GB/s; tokens/s (share of it): {', '.join(told)}"


def compared(model: str, job: str, times: Times) -> list[Comparison]:
    """The fastest of ours with weights of so many bits beside others with as many, beside memory, and beside all."""
    rows, found, fastest = int(job.split()[1]), [], partial(min, key=lambda n: spread(times[n])[1])
    others = {n: s for n, s in times.items() if n != READING and not n.startswith("variorum")}
    ours = [n for n in times if n.startswith("variorum")]
    for bits in (8, 16, 32):
        mine, theirs = ([n for n in names if round(MODELS[model][n].bits) == bits] for names in (ours, others))
        if mine and theirs:
            best, limit = fastest(mine), DEMANDS.get((model, rows, bits))
            found.append(Comparison(f"{model}, weights of {bits} bits", job, best,
                                    {best: times[best], **{n: times[n] for n in theirs}},
                                    limit and Demand(Kind.SPEED, limit)))  # fmt: skip
    share = OF_READING.get((model, rows))
    eights = [n for n in ours if round(MODELS[model][n].bits) == 8]
    if share and eights:
        best = fastest(eights)
        part = d.Shape().read * MODELS[model][best].bits / 8 * d.Shape().new / d.GIGABYTE
        alone = {best: times[best], "its weights read alone": [part * s for s in times[READING]]}
        found.append(Comparison(f"{model}, weights of 8 bits beside memory", job, best, alone,
                                Demand(Kind.SPEED, share)))  # fmt: skip
    limit = OF_ALL.get((model, rows))
    if limit:
        best = fastest(ours)
        found.append(Comparison(f"{model}, whatever the weights", job, best, {best: times[best], **others},
                                Demand(Kind.SPEED, limit)))  # fmt: skip
    return found


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        model, name, threads, batches, *rest = sys.argv[2:]
        rows = [int(n) for n in batches.split(",")]
        serve(int(threads), lambda: prepare(model, name, int(threads), rows, quick=bool(rest)))
        return
    parser = options(__doc__, rounds=5)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    every = [name for candidates in MODELS.values() for name in candidates]
    parser.add_argument("--only", nargs="+", choices=list(dict.fromkeys(every)), default=every)
    chosen = parser.parse_args()
    comparisons, notes = [], []
    for model, candidates in MODELS.items():
        if chosen.quick and model != "GPT-2 small":
            notes.append(f"{model}: not in a quick run")
            continue
        names, left = installed({n: candidate.needs for n, candidate in candidates.items() if n in chosen.only})
        notes += [f"{model}, {note}" for note in left]
        if not any(name.startswith("variorum") for name in names):
            continue
        times, told = measure(model, names, chosen)
        notes += told
        comparisons += [c for job, found in times.items() for c in compared(model, job, found)]
        print(*told, sep="\n", flush=True)
    Result("decode", __doc__ or "", chosen, comparisons, notes).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
