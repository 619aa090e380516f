"""A language model behind HTTP, beside the same engine without a server.

    python benchmarks/serving.py [--seconds 60] [--clients 32] [--soak 10] [--rounds 3] [--threads 2]

Clients that each ask again as soon as they are answered, for mixed lengths of prompts and answers; the server and its
clients are processes of their own. The rival is the engine given the very same requests at once, in a process of its
own. A time is that of one token, over all that were written (with one thread, the server's processor time). Lengths of
prompts and answers are from 16 to 160, all equally often, so that latencies tell of the server more than of what was
asked. --soak tells the server's memory over so many minutes. A bundle of random weights of a small GPT-2's shape, with
the plan that `variorum compile` found; both run by it.
"""

import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx2
import psutil
import torch
from _results import Comparison, Demand, Kind, Result, options
from _timing import Call, alternate, ready, script, serve, spread

from variorum.data.symbols import Level, TextSymbols
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.runtime.bundle import Bundle, load, save
from variorum.runtime.decoding.decoding import Limits
from variorum.runtime.generation.ticket import Request
from variorum.runtime.serve.desk import engine_of
from variorum.runtime.serve.limits import Limits as Bounds

OURS, OFFLINE = "variorum serve", "the engine alone"
JOB = "tokens"
LENGTH, LENGTHS = 512, (16, 160)
"""Ids that the model looks at; those of a prompt, and of an answer, at least and at most."""
SHAPES = {"small": (768, 12, 12), "quick": (32, 1, 2)}
"""Width, depth and heads."""
SHARE = 0.8
"""Of the engine's throughput that the server is to reach."""
TAIL = 4.0
"""How many times the median latency the 99th percentile may be."""


class Load(NamedTuple):
    """What clients have seen: seconds of each request, tokens of all, requests that failed, seconds of it all."""

    latencies: list[float]
    tokens: int
    failed: int
    seconds: float


def bundle(shape: str) -> Bundle:
    """A language model of bytes."""
    dim, depth, heads = SHAPES[shape]
    torch.manual_seed(0)
    block = Block.spec(mixer=Attention.spec(heads=heads, pattern=Causal.spec()), channels=MLP.spec())
    embed = TokenEmbed.spec(vocab=256, position=LearnedPosition.spec(length=LENGTH))
    model = Stack.spec(dim=dim, embed=embed, blocks=[block] * depth, head=Unembed.spec(vocab=256)).build()
    return Bundle(model.eval(), "text", TextSymbols.spec(level=Level.BYTE, alphabet="", length=LENGTH))


def request(number: int) -> tuple[list[int], int]:
    """The prompt and the number of new tokens of a request."""
    draw = random.Random(number)
    prompt, most = (draw.randint(*LENGTHS) for _ in range(2))
    return [draw.randrange(256) for _ in range(prompt)], most


def prepare(folder: str, count: int, clients: int) -> tuple[dict[str, Call], dict[str, Any]]:
    """The server's own engine given so many requests at once; a call writes them all."""
    model, asked = load(folder).compile().model, [request(i) for i in range(count)]

    def write() -> None:
        desk = engine_of(model, Bounds(slots=clients), LENGTH)
        for ids, most in asked:
            desk.submit(Request(torch.tensor(ids), Limits(most)))
        while any(desk.load.values()):
            desk.step()

    return {JOB: write}, {"tokens": sum(most for _, most in asked)}


@contextmanager
def server(folder: Path, chosen: Namespace) -> Iterator[tuple[str, psutil.Process]]:
    """The command in a process of its own: its address, and the process."""
    words = ["--port", "0", "--threads", str(chosen.threads), "--slots", str(chosen.clients)]
    command = [sys.executable, "-m", "variorum", "serve", f"model={folder}", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        yield found[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def storm(url: str, clients: int, seconds: float, first: int) -> Load:
    """Clients that ask again and again for so many seconds, once at least, beginning with request ``first``."""
    numbers, lock = iter(range(first, 1 << 30)), threading.Lock()

    def ask(client: httpx2.Client) -> tuple[list[float], int, int]:
        latencies, tokens, failed = list[float](), 0, 0
        while not latencies or time.perf_counter() - start < seconds:
            with lock:
                ids, most = request(next(numbers))
            began = time.perf_counter()
            asked = {"model": "model", "prompt": ids, "max_tokens": most, "temperature": 0}
            answer = client.post("/v1/completions", json=asked)
            latencies.append(time.perf_counter() - began)
            failed += answer.status_code != 200
            tokens += answer.json()["usage"]["completion_tokens"] if answer.status_code == 200 else 0
        return latencies, tokens, failed

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(clients))
        made = [stack.enter_context(httpx2.Client(base_url=url, timeout=300)) for _ in range(clients)]
        start = time.perf_counter()  # making a client takes long: it reads certificates
        told = list(pool.map(ask, made))
        whole = time.perf_counter() - start
    return Load([s for one in told for s in one[0]], sum(t for _, t, _ in told), sum(f for _, _, f in told), whole)


def soak(url: str, process: psutil.Process, chosen: Namespace) -> str:
    """The server's memory at the beginning and the end of minutes of load."""
    storm(url, chosen.clients, 120, 0)  # by then every page of the cache has been written once
    sizes = [process.memory_info().rss]
    for minute in range(chosen.soak):
        storm(url, chosen.clients, 60, 1000 * (minute + 1))
        sizes.append(process.memory_info().rss)
    return f"memory over {chosen.soak} minutes of load: " + ", ".join(f"{size / 1e6:.0f}" for size in sizes) + " MB"


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        folder, count, clients, threads = sys.argv[2:]
        serve(int(threads), lambda: prepare(folder, int(count), int(clients)))
        return
    parser = options(__doc__, rounds=3)
    parser.add_argument("--seconds", type=float, default=60, help="of each round")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--soak", type=int, default=0, help="minutes")
    chosen = parser.parse_args()
    shape, count = ("quick", 8) if chosen.quick else ("small", 8 * chosen.clients)
    seconds = 1.0 if chosen.quick else chosen.seconds
    loads: list[Load] = []
    with tempfile.TemporaryDirectory() as place:
        whole = bundle(shape)
        plan = whole.compile(threads=chosen.threads).plan
        folder = save(whole, Path(place) / "model")
        arguments = (str(folder), str(count), str(chosen.clients), str(chosen.threads))
        with server(folder, chosen) as (url, process), ready(script(__file__), [arguments]) as (rivals, facts):
            storm(url, chosen.clients, seconds / 10, 0)

            def visit(_: str) -> float:
                before = sum(process.cpu_times()[:2])
                loads.append(storm(url, chosen.clients, seconds, 1000 * (len(loads) + 1)))
                taken = sum(process.cpu_times()[:2]) - before if chosen.threads == 1 else loads[-1].seconds
                return taken / loads[-1].tokens

            visits = {OURS: visit, OFFLINE: lambda job: rivals[0].visit(job) / facts[0]["tokens"]}
            times = alternate(visits, [JOB], chosen.rounds)[JOB]
            notes = [soak(url, process, chosen)] if chosen.soak else []
    demand = Demand(Kind.SPEED, SHARE)
    comparison = Comparison("one token", f"{chosen.clients} clients", OURS, times, demand)
    compiled = "the plan: " + "; ".join(line.strip() for line in str(plan).splitlines())
    notes = [compiled, *told(loads), *notes]
    Result("serving", __doc__ or "", chosen, [comparison], notes).write(chosen.results, chosen.page)


def told(loads: list[Load]) -> list[str]:
    """Latencies, and failures, of all rounds."""
    latencies = sorted(s for one in loads for s in one.latencies)
    p50, p99 = median(latencies), latencies[int(0.99 * (len(latencies) - 1))]
    speeds = spread([one.tokens / one.seconds for one in loads])
    return [
        f"{len(latencies)} requests, {sum(one.failed for one in loads)} failed; {speeds[1]:.0f} tokens/s",
        f"latency p50 {p50:.3f} s, p99 {p99:.3f} s: {p99 / p50:.1f} times (at most {TAIL:g} are asked for)",
    ]


if __name__ == "__main__":
    main()
