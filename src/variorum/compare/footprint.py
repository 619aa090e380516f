"""The memory that a bundle needs to answer: each is loaded in a fresh process, forked by a server that has torch."""

from collections.abc import Iterator
from typing import Any

import torch

from variorum.compare.memory import Peak, release
from variorum.compare.process import pool
from variorum.core.registry import discover
from variorum.runtime.bundle import load


def footprint(bundle: str, inputs: dict[str, Any]) -> float:
    """MiB that a bundle, loaded and predicting one row, adds to a process in which the same one already works.

    The first copy, which stays, makes the libraries load whatever they load on first use: that is no model's memory.
    """
    torch.set_num_threads(1)
    discover()
    with torch.inference_mode():
        first = load(bundle).model
        first(**inputs)
        release()
        with Peak() as peak:
            second = load(bundle).model
            second(**inputs)
    return peak.mib


def footprints(bundles: dict[str, str], inputs: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Names and the memory of each bundle, each in a fresh process that a server with torch forks."""
    with pool(1, tasks_each=1) as processes:
        for name, bundle in bundles.items():
            yield name, processes.submit(footprint, bundle, inputs).result()
