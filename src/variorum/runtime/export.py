"""A model as an ONNX file, run and compared before it is handed over."""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from variorum.core import Part, VariorumError
from variorum.data.preprocess import Preprocess
from variorum.runtime.bundle import Bundle

TOLERANCE = 1e-4
"""Largest difference between the file's answers and the model's, as a part of the largest answer if that is above 1."""
SIZES = ((3, 7), (1, 12), (5, 7))
"""Batches and lengths that the file is run with; it is made with the first."""
ALIKE = 1e-9
"""Largest difference in float64 of a graph that is the model."""


@dataclass(frozen=True)
class Export:
    """What was written and how it was checked.

    inputs, outputs: names with the sizes of their dimensions, free ones by name.
    opset: None where the file is not ONNX.  checked: (batch, length) of each run against the model, of a graph of one
    step (batch, pieces one after another).  difference: the largest of all answers.
    """

    path: str
    nbytes: int
    opset: int | None
    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    checked: tuple[tuple[int, int], ...]
    difference: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def to_onnx(bundle: Bundle, path: str | Path) -> Export:
    """Write a bundle's model as one ONNX file and run it in onnxruntime against the model.

    The size of the batch is free, and for text the length. The file's metadata hold kind, labels and preprocessing.
    Raises :class:`VariorumError`, and leaves no file, if a part says that it does not export, if the export fails, or
    if an answer of the file differs from the model's.
    """
    path = Path(path)
    check_packages()
    check_parts(bundle.model)
    preprocess = preprocess_of(bundle)
    model = bundle.model.eval()
    with draft_of(path) as draft:
        opset = _write(model, preprocess.sample(*SIZES[0]), preprocess.axes, bundle, draft)
        session = session_of(draft)
        difference = explained(
            lambda: _compare(session, model, preprocess.sample), lambda: _in_double(bundle, preprocess)
        )
        inputs, outputs = sides(session)
    return Export(str(path), path.stat().st_size, opset, inputs, outputs, SIZES, difference)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write into, which takes its place when all inside went well, and is gone otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".draft" + path.suffix, dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def preprocess_of(bundle: Bundle) -> Preprocess:
    """What tells the inputs of a bundle's model; VariorumError if there is none."""
    if bundle.preprocess is None:
        raise VariorumError(
            "bundle", expected="a preprocess, which tells the inputs", found="none", do="Give the bundle one."
        )
    return bundle.preprocess.build()


def check_packages() -> None:
    """VariorumError that names a package of the extra ``export`` which is not installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(package)
        except ImportError:
            raise VariorumError("export", expected=f"the package {package}", found="none installed",
                                do="pip install 'variorum[export]'.") from None  # fmt: skip


def check_parts(model: Part) -> None:
    """VariorumError that names the innermost part whose traits say that it does not export."""
    stuck = [(path, part) for path, part in model.named_modules() if isinstance(part, Part) and not part.traits.exports]
    if stuck:
        path, part = stuck[-1]
        raise VariorumError(
            f"export of {path or 'the model'}",
            expected="parts that go through torch.export and ONNX",
            found=f"{type(part).__name__}, whose traits say that it does not",
            do="Use the bundle itself, or replace this part.",
        )


def _write(model: Part, sample: dict[str, Tensor], axes: dict[str, dict[int, str]], bundle: Bundle, path: Path) -> int:
    dynamic = {name: {dim: torch.export.Dim(what) for dim, what in dims.items()} for name, dims in axes.items()}
    proto = onnx_of(model, kwargs=sample, dynamic_shapes=dynamic, output_names=["outputs"])
    return put_onnx(proto, metadata(bundle), path)


def onnx_of(model: nn.Module | ExportedProgram, *args: Any, **options: Any) -> Any:
    """The graph that torch.onnx makes of a model or a program; VariorumError that keeps the cause if it cannot.

    Of its optimisations those are left out that rewrite: a rule is x + 0 = x for whatever is near 0, such as 1e-8 under
    the root of a norm. Which line of which file made a node is not told: it names folders of the machine, and may be as
    large as the weights.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnxscript import optimizer

    with exporting("ONNX"):
        made = torch.onnx.export(model, *args, dynamo=True, optimize=False, verbose=False, **options)
        assert made is not None, "with dynamo the export is returned"
        optimizer.inline(made.model)
        optimizer.fold_constants(made.model, onnx_shape_inference=True)
        optimizer.remove_unused_nodes(made.model)
        ClearMetadataAndDocStringPass()(made.model)
        return made.model_proto


@contextmanager
def exporting(form: str) -> Iterator[None]:
    """Where an exporter works: without notes and gradients, and what it raises is a VariorumError with its cause."""
    try:
        with quiet(), torch.no_grad():
            yield
    except VariorumError:
        raise
    # What may fail inside an export has no common type; the caller needs one error that keeps the cause.
    except Exception as error:
        causes = _causes(error)
        says = next(iter(str(causes[-1]).strip().splitlines()), "")
        place = next((f" in {place}" for cause in reversed(causes) for place in _places(cause)), "")
        raise VariorumError(
            "export",
            expected=f"a model that {form} can hold",
            found=f"{type(causes[-1]).__name__}{place}: {says[:200].rstrip('. ')}",
            do="Use the bundle itself, and report it: the traits of its parts say that they export.",
        ) from error


def _causes(error: BaseException) -> list[BaseException]:
    """An error, what caused it, and so on."""
    return [error, *(() if error.__cause__ is None else _causes(error.__cause__))]


def _places(error: BaseException) -> Iterator[str]:
    """The methods of parts that an error went through, the innermost first."""
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        own = frame.f_locals.get("self")
        if isinstance(own, Part):
            yield f"{type(own).__name__}.{frame.f_code.co_name}"


def put_onnx(proto: Any, told: Mapping[str, str], path: Path) -> int:
    """Write a graph with what its metadata tell, checked, and answer with its opset."""
    import onnx

    for key, value in told.items():
        proto.metadata_props.add(key=key, value=value)
    with exporting("ONNX"):
        onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())
    return int(next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")))


def metadata(bundle: Bundle) -> dict[str, str]:
    """What every file says of its model: kind, labels, preprocessing and spec."""
    assert bundle.preprocess is not None
    return {
        "variorum.kind": bundle.kind,
        "variorum.labels": json.dumps(list(bundle.labels)),
        "variorum.preprocess": bundle.preprocess.to_json(),
        "variorum.spec": bundle.spec.to_json(),
    }


def _compare(session: Any, model: Part, sample: Callable[[int, int], dict[str, Tensor]]) -> float:
    largest = 0.0
    for rows, length in SIZES:
        given = sample(rows, length)
        with torch.inference_mode():
            wanted = model(**given)
        largest = max(largest, gap(answers_of(session, given)[0], wanted, f"batch {rows}, length {length}"))
    return largest


def _in_double(bundle: Bundle, preprocess: Preprocess) -> float:
    def sample(rows: int, length: int) -> dict[str, Tensor]:
        return {name: double(value) for name, value in preprocess.sample(rows, length).items()}

    model = deepcopy(bundle.model).double().eval()
    with scratch() as path:
        _write(model, sample(*SIZES[0]), preprocess.axes, bundle, path)
        return _compare(session_of(path), model, sample)


def double(tensor: Tensor) -> Tensor:
    """In float64, if it is no tensor of whole numbers."""
    return tensor.double() if tensor.is_floating_point() else tensor


@contextmanager
def scratch() -> Iterator[Path]:
    """A place for an ONNX file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "model.onnx"


def explained(compare: Callable[[], float], in_double: Callable[[], float]) -> float:
    """What ``compare`` finds. Where answers differ, the error tells whether they do so in float64 too.

    If they do not, the graph is the model's, and the last bits of float32, which another order of sums changes, are
    what the model makes much of: as one does that rounds numbers to a few bits, where some come out on the other side
    of a half.
    """
    try:
        return compare()
    except Differs as error:
        try:
            alike = in_double() <= ALIKE
        except VariorumError:  # not all operations have float64 there: nothing is found out
            alike = False
        if not alike:
            raise
        found = (f"{error.found}, and in float64 none above {ALIKE}: the graph is the model's, which rounds numbers or "
                 "takes near ones from each other, and in float32 the order of sums decides")  # fmt: skip
        raise Differs(error.subject, expected=error.expected, found=found,
                      do="No file was written. Use a .pt2 program, or the bundle itself.") from error  # fmt: skip


def session_of(path: Path) -> Any:
    """A session of onnxruntime; VariorumError if it cannot run the file."""
    import onnxruntime

    with _run():
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def answers_of(session: Any, given: Mapping[str, Tensor]) -> list[Tensor]:
    """What the file answers, output by output; VariorumError if onnxruntime stops on the way."""
    with _run():
        return [torch.from_numpy(value) for value in session.run(None, {k: v.numpy() for k, v in given.items()})]


@contextmanager
def _run() -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        yield
    except (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented,
            state.RuntimeException) as error:  # fmt: skip
        raise VariorumError("exported model", expected="a file that onnxruntime can run", found=str(error)[:300],
                            do="No file was written. Use the bundle itself, and report it.") from error  # fmt: skip


def sides(session: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and the outputs of a session by name, with the sizes of their dimensions."""
    both = ({value.name: list(value.shape) for value in s} for s in (session.get_inputs(), session.get_outputs()))
    inputs, outputs = both
    return inputs, outputs


class Differs(VariorumError):
    """A file whose answers are not the model's."""


def gap(found: Tensor, wanted: Tensor, where: str) -> float:
    """The largest difference of the file's answers from the model's; VariorumError if it is above ``TOLERANCE``."""
    if found.shape != wanted.shape:
        raise _differs(f"shape {tuple(wanted.shape)}", f"{tuple(found.shape)}", where)
    if not wanted.numel():
        return 0.0
    largest = float((found.double() - wanted.double()).abs().max())
    if not largest <= TOLERANCE * max(1.0, float(wanted.abs().max())):
        raise _differs(f"the model's answers within {TOLERANCE}", f"a difference of {largest:.3g}", where)
    return largest


def _differs(expected: str, found: str, where: str) -> Differs:
    return Differs(f"exported model, {where}", expected=expected, found=found,
                   do="No file was written. Use the bundle itself, and report it.")  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress notes from the terminal; its failures are raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch._export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
