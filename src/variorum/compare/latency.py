"""How long a prediction takes. All candidates take turns, so that a noisy machine hits all alike.

The last pass over a run folder, in a fresh process, loads every finished bundle, times one prepared row on one thread
and batches on all threads in shuffled rounds, and writes ``latency.json``. The memory of each is measured then, in a
process of its own (see ``footprint``), and its energy.
"""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import nn

from variorum.compare import atomic
from variorum.compare.energy import millijoules
from variorum.compare.footprint import footprints
from variorum.compare.job import Job
from variorum.compare.machine import default_threads
from variorum.compare.measure import row_lengths
from variorum.compare.process import Tell
from variorum.data.readers.reader import load_task
from variorum.runtime.bundle import load

ASKED, FOUND = "latency.job.json", "latency.json"
BATCH, BATCH_SECONDS = 64, 0.25
"""Rows of a batch; fewer, alike for all, where the slowest candidate would take longer than this."""
WARM_SECONDS, VISIT_SECONDS = 0.03, 0.02
FEWEST_ROUNDS = 3


def once(model: nn.Module, inputs: dict[str, Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    model(**inputs)
    return time.perf_counter() - began


def visit(model: nn.Module, inputs: dict[str, Any], *, warm: float, seconds: float) -> list[float]:
    """Warm up, at least one call, then time calls, at least one."""
    end = time.perf_counter() + warm
    once(model, inputs)
    while time.perf_counter() < end:
        once(model, inputs)
    taken = [once(model, inputs)]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        taken.append(once(model, inputs))
    return taken


def quick(model: nn.Module, inputs: dict[str, Any]) -> tuple[float, float]:
    """Median and 95th percentile in ms on one thread, of one candidate by itself, in a quarter of a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return summary(visit(model, inputs, warm=0.05, seconds=0.2))
    finally:
        torch.set_num_threads(threads)


def summary(seconds: list[float]) -> tuple[float, float]:
    """Median and 95th percentile in ms."""
    high = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return 1000 * median(seconds), 1000 * high


def rounds(
    models: dict[str, nn.Module],
    inputs: dict[str, Any],
    *,
    seconds: float,
    seed: int,
    told: Callable[[str, list[float]], None],
) -> None:
    """Visit all models in shuffled order, again and again until the seconds are over, at least three times."""
    order, shuffle = list(models), random.Random(seed)
    end, number = time.perf_counter() + seconds, 0
    with torch.inference_mode():
        while number < FEWEST_ROUNDS or time.perf_counter() < end:
            shuffle.shuffle(order)
            for name in order:
                told(name, visit(models[name], inputs, warm=WARM_SECONDS, seconds=VISIT_SECONDS))
            number += 1


def last_pass(out: Path, tell: Tell) -> None:
    """Measure the bundles that ``latency.job.json`` in the run folder names, and write ``latency.json``."""
    asked = json.loads((out / ASKED).read_text("utf-8"))
    job = Job.from_dict(asked["job"])
    torch.set_num_threads(1)
    tell({"stage": "timing"})
    task = load_task(job.data, job.question, seed=job.seed)
    single = next(iter(task.held_out("test", 1))).inputs
    models: dict[str, nn.Module] = {name: load(bundle).model for name, bundle in asked["bundles"].items()}
    one: dict[str, list[float]] = {name: [] for name in models}
    many: dict[str, list[float]] = {name: [] for name in models}
    rounds(
        models, single, seconds=0.6 * asked["seconds"], seed=job.seed, told=lambda name, took: one[name].extend(took)
    )
    slowest = max(median(taken) for taken in one.values())
    batch = next(iter(task.held_out("test", max(1, min(BATCH, int(BATCH_SECONDS / slowest)))))).inputs
    rows = len(row_lengths(batch))
    torch.set_num_threads(default_threads())
    rounds(
        models, batch, seconds=0.4 * asked["seconds"], seed=job.seed, told=lambda name, took: many[name].extend(took)
    )
    found: dict[str, dict[str, Any]] = {}
    for name in models:
        middle, high = summary(one[name])
        found[name] = {"latency_ms": middle, "latency_p95_ms": high, "interleaved": True,
                       "throughput": rows / median(many[name]), "batch": rows}  # fmt: skip
    _write(out, found)
    for name, mib in footprints(asked["bundles"], single):
        found[name]["memory_mb"] = mib
        _write(out, found)
    for name, model in models.items():
        found[name]["energy_mj"] = millijoules(model, single)
    _write(out, found)


def _write(out: Path, found: dict[str, dict[str, Any]]) -> None:
    """What is known so far stands if time runs out."""
    atomic.write(out / FOUND, json.dumps(found, indent=1, allow_nan=False) + "\n")
