"""Export: one graph for every batch size and row length, in torch, in ONNX, and compiled. Slow."""

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from variorum.testing.bound import Bound, dynamic, inputs
from variorum.testing.compared import same
from variorum.testing.example import Example
from variorum.testing.needs import CALLED, EXPORTS, MODULE
from variorum.testing.suite import Need, promise

ROUNDING = 1e-4
"""Of float32 in another library's order of operations."""
SHAPES = ((6, 13, 9), (5, 19, 10), (1, 7, 15))
"""Batch, row length, and length of the rows beside: what is exported, and what it is run with after. The first differ
from the widths of parts, for torch takes equal sizes for one size."""
ONNX = Need(
    "onnx, onnxscript or onnxruntime is not installed: see the extra `export`",
    lambda e: all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")),
)


@promise(MODULE, CALLED, EXPORTS, slow=True)
def exported_by_torch(example: Example) -> None:
    """torch.export gives one program for all batch sizes and lengths, with the answers of the part."""
    bound, first = _bound(example)
    with _quiet():
        program = torch.export.export(bound, first, dynamic_shapes=(dynamic(example),)).module()
    for given in _given(example):
        same(program(*given), bound(*given), f"the program differs for {_shapes(given)}", ROUNDING)


@promise(MODULE, CALLED, EXPORTS, ONNX, slow=True)
def exported_to_onnx(example: Example) -> None:
    """The ONNX graph, run by onnxruntime, gives the answers of the part for all batch sizes and lengths."""
    import onnxruntime

    bound, first = _bound(example)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.onnx"
        torch.onnx.export(bound, first, path, dynamo=True, dynamic_shapes=(dynamic(example),), verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    for given in _given(example):
        found = session.run(None, {name: x.numpy() for name, x in zip(names, given, strict=True)})
        same([torch.from_numpy(out) for out in found], bound(*given), f"ONNX differs for {_shapes(given)}", ROUNDING)


@promise(MODULE, CALLED, EXPORTS, slow=True)
def compiled_once(example: Example) -> None:
    """torch.compile makes one graph of it, without breaks, and does not compile again for another length or batch."""
    torch._dynamo.reset()
    bound, _ = _bound(example)
    compiled = torch.compile(bound, fullgraph=True, dynamic=True, backend="aot_eager")
    with _quiet(), torch._dynamo.config.patch(error_on_recompile=True):
        for given in list(_given(example))[:2]:
            same(compiled(*given), bound(*given), f"compiled, it differs for {_shapes(given)}", ROUNDING)


def _bound(example: Example) -> tuple[Bound, tuple[Tensor, ...]]:
    size = example.size(SHAPES[0][1])
    return Bound(example, example.build(torch.float32), size).eval(), next(_given(example))


def _given(example: Example) -> Iterator[tuple[Tensor, ...]]:
    for batch, n, beside in SHAPES:
        size = example.size(SHAPES[0][1] if example.traits.grid or example.traits.multiple > 1 else n)
        yield inputs(example, batch, size, beside)


def _shapes(given: tuple[Tensor, ...]) -> str:
    return ", ".join(str(tuple(x.shape)) for x in given)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without gradients, and without what exporters say of packages that they could use if they were there."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)  # a fault is raised, and told by the report
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
