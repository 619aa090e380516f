"""A model, or one step of a streaming one, as a program of torch.export, loaded again and compared."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from variorum.core import Memory, Part, Streaming
from variorum.runtime.bundle import Bundle
from variorum.runtime.export import (
    SIZES,
    Export,
    check_parts,
    draft_of,
    exporting,
    gap,
    metadata,
    preprocess_of,
)
from variorum.runtime.export_step import RUNS, Sample, sample_of
from variorum.runtime.stepped import StepGraph, cut, step_graph


def to_program(bundle: Bundle, path: str | Path) -> Export:
    """Write a bundle's model as a program of torch.export (.pt2), load it and run it against the model.

    The size of the batch is free, and for text the length. ``torch.export.load(path).module()`` is the model again,
    without Variorum; its archive's extra files hold kind, labels and preprocessing. It has no example inputs, which
    torch would pickle.

    Raises :class:`VariorumError`, and leaves no file, if a part says that it does not export, if the export fails, or
    if an answer differs from the model's.
    """
    path = Path(path)
    check_parts(bundle.model)
    model, preprocess = bundle.model.eval(), preprocess_of(bundle)
    free = {name: dict.fromkeys(dims, Dim.DYNAMIC) for name, dims in preprocess.axes.items()}
    largest = 0.0
    with draft_of(path) as draft:
        program = _tried(
            lambda: torch.export.export(model, (), kwargs=preprocess.sample(*SIZES[0]), dynamic_shapes=free)
        )
        run = _tried(partial(_written, program, bundle, draft))
        for rows, length in SIZES:
            sample = preprocess.sample(rows, length)
            with torch.no_grad():
                wanted = model(**sample)
            largest = max(largest, gap(_tried(partial(run, **sample)), wanted, f"batch {rows}, length {length}"))
    return Export(str(path), path.stat().st_size, None, _given(program), {}, SIZES, largest)


def to_program_step(bundle: Bundle, path: str | Path) -> Export:
    """Write one step of a bundle's streaming model as a program of torch.export; see ``to_onnx_step`` and
    :func:`to_program`. Inputs and outputs have the same order as there, but no names.
    """
    path = Path(path)
    check_parts(bundle.model)
    sample = sample_of(bundle.model.eval(), preprocess_of(bundle))
    with draft_of(path) as draft:
        graph = _tried(lambda: step_graph(bundle.model, *sample))
        run = _tried(partial(_written, graph.program, bundle, draft))
        largest = compare_program_step(run, bundle.model, sample, graph)
    given = dict(zip(graph.inputs, _given(graph.program).values(), strict=True))
    return Export(str(path), path.stat().st_size, None, given, {name: [] for name in graph.outputs}, RUNS, largest)


def compare_program_step(run: Callable[..., Any], model: Part, sample: Sample, graph: StepGraph) -> float:
    """As ``compare_step``, of a program that is called with tensors."""
    streaming, largest = cast(Streaming, model), 0.0
    for rows, count in RUNS:
        kept: Sequence[Tensor] = [start.tensor(rows) for start in graph.starts]
        memory = None if sample.memory is None else cut(sample.memory, rows, sample.memory.shape[1], 1)[0]
        state = streaming.start(rows)
        for i, piece in enumerate(cut(sample.inputs, rows, graph.piece, sample.pieces(count, graph.piece))):
            with torch.no_grad():
                wanted, state = streaming.advance(piece, state, None, None if memory is None else Memory(memory))
            found = _tried(partial(run, piece, *(() if memory is None else (memory,)), *kept))
            largest = max(largest, gap(found[0], wanted, f"batch {rows}, piece {i}"))
            kept = found[len(found) - len(graph.starts) :]
    return largest


def _tried(make: Callable[[], Any]) -> Any:
    with exporting("torch.export"):
        return make()


def _written(program: ExportedProgram, bundle: Bundle, path: Path) -> Callable[..., Any]:
    """Write the program, and answer with the one that is read from the file.

    It does not tell which line of which file made a node, for that names folders of the machine.
    """
    program.example_inputs = None
    for graph in program.graph_module.modules():
        for node in graph.graph.nodes if isinstance(graph, GraphModule) else ():
            node.meta.pop("stack_trace", None)
    torch.export.save(program, path, extra_files=metadata(bundle))
    return cast(Callable[..., Any], torch.export.load(path).module())


def _given(program: ExportedProgram) -> dict[str, list[int | str]]:
    """The program's inputs by name, with the sizes of their dimensions, free ones by name."""
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    sizes = ((node.name, node.meta["val"].shape) for node in nodes)
    return {name: [size if isinstance(size, int) else str(size) for size in shape] for name, shape in sizes}
