"""What the engine measures: seconds of calls taken in turns, and how far answers are apart."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

ROUNDS, LEAST = 5, 0.01
"""Rounds in which candidates take turns, and seconds that a visit lasts at least."""
TOGETHER = 1 << 22
"""Numbers of answers that are compared at a time: in double precision, with their differences, they take memory."""


class Call(NamedTuple):
    """The arguments that a module was called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of(self, run: Callable[..., Any]) -> Any:
        """``run`` with these arguments."""
        return run(*self.args, **self.kwargs)


def record(model: nn.Module, modules: Mapping[str, nn.Module], sample: Call) -> dict[str, Call]:
    """What each of these modules of the model is first called with while the model reads a sample.

    Modules that are not called are left out.
    """
    told: dict[str, Call] = {}

    def listener(path: str) -> Callable[..., None]:
        def hear(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            told.setdefault(path, Call(args, dict(kwargs)))

        return hear

    handles = [module.register_forward_pre_hook(listener(path), with_kwargs=True) for path, module in modules.items()]
    try:
        sample.of(model)
    finally:
        for handle in handles:
            handle.remove()
    return told


def seconds(candidates: Sequence[Callable[[], object]], *, rounds: int = ROUNDS) -> list[float]:
    """The median time of one call of each candidate; in every round each takes its turn, short calls repeated."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for run in candidates:
        run()
    times: list[list[float]] = [[] for _ in candidates]
    for _ in range(rounds):
        for run, found in zip(candidates, times, strict=True):
            count, start = 0, clock()
            while not count or clock() - start < LEAST:
                run()
                count += 1
            found.append((clock() - start) / count)
    return [median(found) for found in times]


def error(found: Any, wanted: Any) -> float:
    """|found - wanted| / |wanted| over all finite numbers of an answer; infinite if others are not found alike."""
    apart, size = 0.0, 0.0
    for a, b in _pieces(found, wanted):
        finite = b.isfinite()
        if not torch.equal(a[~finite], b[~finite].to(a.dtype)) and not bool(b[~finite].isnan().all()):
            return math.inf
        a, b = a[finite].double(), b[finite].double()
        apart += float((a - b).square().sum())
        size += float(b.square().sum())
    if math.isnan(apart) or (apart and not size):
        return math.inf
    return math.sqrt(apart / size) if apart else 0.0


def cosine(found: Any, wanted: Any) -> float:
    """The smallest cosine between what is found and what is wanted, along the last dimension of answers.

    Of finite numbers that are wanted; -1 where others are found in their place.
    """
    worst = 1.0
    for a, b in _pieces(found, wanted):
        if a.numel() and a.dim():
            finite = b.isfinite()
            a, b = (t.double().where(finite, 0.0) for t in (a, b))
            alike = nn.functional.cosine_similarity(a, b, dim=-1).nan_to_num(-1.0)
            nought = (a == 0).all(-1) & (b == 0).all(-1)
            worst = min(worst, float(alike.masked_fill(nought, 1.0).min()))
    return worst


def _pieces(found: Any, wanted: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Tensors of numbers and those that are wanted; large ones some of their rows at a time."""
    for a, b in zip(tree_leaves(found), tree_leaves(wanted), strict=True):
        if not (isinstance(b, Tensor) and b.is_floating_point()):
            continue
        if b.numel() <= TOGETHER or b.dim() < 2 or a.shape != b.shape:
            yield a, b
        else:
            rows = max(1, TOGETHER // b.shape[-1])
            yield from zip(a.flatten(0, -2).split(rows), b.flatten(0, -2).split(rows), strict=True)
