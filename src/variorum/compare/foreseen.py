"""What a configuration will take in use, told before it is trained."""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from variorum.compare.allocations import Allocations, Exhausted
from variorum.compare.available import available_bytes
from variorum.compare.latency import quick
from variorum.compare.limits import MIB
from variorum.compare.measure import parameters
from variorum.core import Spec
from variorum.data.task import Task
from variorum.runtime.trial import survey
from variorum.runtime.weights import dtype_name
from variorum.train.recipe import Recipe


def foreseen(spec: Spec[Any], task: Task, *, recipe: Spec[Recipe]) -> dict[str, float]:
    """What the model of a configuration will take, told from the untrained one; keys and units are those of ``Result``.

    parameters: exact.     size_bytes: of the bundle's weights file, exact; the whole bundle takes some kB more.
    latency_ms: median of one held-out row on one thread, after warm calls.
    memory_mb: its parameters and buffers, and the most that tensors take while one row is predicted.
    The last two are missing where the model does not fit in the memory that is free. Nothing is told ({}) of a recipe
    that makes something else of the spec (``keeps_spec`` is False). Training changes none of the four but latency, and
    that only where a model's work depends on its weights (early exits).
    """
    if not recipe.cls.keeps_spec:
        return {}
    filled = spec.fill(**task.facts)
    with torch.device("meta"):
        planned = survey(model := filled.build())
    found: dict[str, float] = {"parameters": parameters(model), "size_bytes": weights_bytes(planned.tensors)}
    free = available_bytes()
    if planned.nbytes > free:
        return found
    row = next(iter(task.held_out("test", 1))).inputs
    with torch.random.fork_rng(devices=[]):
        built = filled.build().eval()
    try:
        with torch.no_grad(), Allocations(most=free - planned.nbytes) as taken:
            built(**row)
    except Exhausted:
        return found
    return {**found, "memory_mb": (planned.nbytes + taken.peak) / MIB, "latency_ms": quick(built, row)[0]}


def weights_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of a safetensors file: eight, a header of compact JSON filled up to a multiple of eight, the tensors.

    Tensors lie in the file by falling size of their numbers, then by name; those given may be on the meta device.
    """
    header, at = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        end = at + math.prod(tensor.shape) * tensor.element_size()
        header[name] = {"dtype": dtype_name(tensor), "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + at
