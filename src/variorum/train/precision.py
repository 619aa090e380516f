"""The precision of arithmetic: chosen by measuring the given model on the given batch, not by the machine's name."""

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import torch

from variorum.data.task import Batch
from variorum.train.learner import Learner

ROUNDS = 5
"""Timed passes of each precision, after one that is not counted."""
GAIN = 1.05
"""bf16 must be faster by this factor to be chosen."""


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass. Parameters, their updates and the losses are always fp32."""

    AUTO = "auto"
    """The faster of the two, measured."""
    FP32 = "32"
    BF16 = "bf16"
    """bfloat16 under torch.autocast."""


FABRIC: dict[Precision, Literal["32-true", "bf16-mixed"]] = {Precision.FP32: "32-true", Precision.BF16: "bf16-mixed"}
"""Lightning Fabric's names."""


class Choice(NamedTuple):
    """A precision and why it was taken."""

    precision: Precision
    why: str


def choose(
    learner: Learner,
    batch: Batch,
    autocasts: Mapping[Precision, Callable[[], AbstractContextManager[Any]]],
    *,
    seconds: float,
) -> Choice:
    """The faster precision for this model and batch: the medians of interleaved forward and backward passes, timed.

    It takes at most about ``seconds``, one pass of each apart; if they do not allow a counted pass of each, fp32.
    Parameters, buffers and gradients are afterwards as they were before, and so is the stream of random numbers.
    """
    buffers = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    times: dict[Precision, list[float]] = {Precision.FP32: [], Precision.BF16: []}
    deadline = time.perf_counter() + seconds
    try:
        with torch.random.fork_rng():
            for _ in range(1 + ROUNDS):
                times[Precision.FP32].append(_time(learner, batch, autocasts[Precision.FP32]))
                try:
                    times[Precision.BF16].append(_time(learner, batch, autocasts[Precision.BF16]))
                except RuntimeError as error:
                    return Choice(Precision.FP32, f"the model does not run in bf16: {str(error).splitlines()[0]}")
                if time.perf_counter() >= deadline:
                    break
    finally:
        learner.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in learner.named_buffers():
                buffer.copy_(buffers[name])
    single, half = times[Precision.FP32][1:], times[Precision.BF16][1:]
    if not half:
        return Choice(Precision.FP32, f"a step takes so long that the precisions cannot be compared in {seconds:.3g} s")
    return judge(statistics.median(single), statistics.median(half), len(half))


def judge(single: float, half: float, passes: int) -> Choice:
    """The precision to take when a pass takes ``single`` seconds in fp32 and ``half`` in bf16."""
    chosen = Precision.BF16 if single > GAIN * half else Precision.FP32
    return Choice(
        chosen, f"a pass takes {1000 * single:.4g} ms in fp32, {1000 * half:.4g} ms in bf16 (medians of {passes})"
    )


def _time(learner: Learner, batch: Batch, autocast: Callable[[], AbstractContextManager[Any]]) -> float:
    started = time.perf_counter()
    loss = learner(batch, autocast)
    loss.mean.backward()
    loss.total.item()  # waits for an asynchronous device
    learner.zero_grad(set_to_none=True)
    return time.perf_counter() - started
