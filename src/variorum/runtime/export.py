"""A model as an ONNX file, run and compared before it is handed over."""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from variorum.core import Part, VariorumError
from variorum.runtime.bundle import Bundle

TOLERANCE = 1e-4
"""Largest difference between the file's answers and the model's, as a part of the largest answer if that is above 1."""
SIZES = ((3, 7), (1, 12), (5, 7))
"""Batches and lengths that the file is run with; it is made with the first."""


@dataclass(frozen=True)
class Export:
    """What was written and how it was checked.

    inputs, outputs: names with the sizes of their dimensions, free ones by name.
    checked: (batch, length) of each run against the model.  difference: the largest of all answers.
    """

    path: str
    nbytes: int
    opset: int
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
    _check_packages()
    _check_parts(bundle.model)
    if bundle.preprocess is None:
        raise VariorumError(
            "bundle", expected="a preprocess, which tells the inputs", found="none", do="Give the bundle one."
        )
    preprocess = bundle.preprocess.build()
    model = bundle.model.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent)
    os.close(handle)
    try:
        opset = _write(model, preprocess.sample(*SIZES[0]), preprocess.axes, bundle, Path(draft))
        difference, inputs, outputs = _compare(model, preprocess, Path(draft))
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return Export(str(path), path.stat().st_size, opset, inputs, outputs, SIZES, difference)


def _check_packages() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(package)
        except ImportError:
            raise VariorumError("export", expected=f"the package {package}", found="none installed",
                                do="pip install 'variorum[export]'.") from None  # fmt: skip


def _check_parts(model: Part) -> None:
    """Name the innermost part that does not export."""
    stuck = [(path, part) for path, part in model.named_modules() if isinstance(part, Part) and not part.traits.exports]
    if stuck:
        path, part = stuck[-1]
        raise VariorumError(
            f"export of {path or 'the model'}",
            expected="parts that go through ONNX",
            found=f"{type(part).__name__}, whose traits say that it does not",
            do="Use the bundle itself, or replace this part.",
        )


def _write(model: Part, sample: dict[str, Tensor], axes: dict[str, dict[int, str]], bundle: Bundle, path: Path) -> int:
    dynamic = {name: {dim: torch.export.Dim(what) for dim, what in dims.items()} for name, dims in axes.items()}
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (),
                kwargs=sample,
                dynamic_shapes=dynamic,
                output_names=["outputs"],
                dynamo=True,
                optimize=True,
                verbose=False,
            )
    # What may fail inside an export has no common type; the caller needs one error that keeps the cause.
    except Exception as error:
        cause = error.__cause__ or error
        raise VariorumError(
            "export",
            expected="a model that ONNX can hold",
            found=f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:300]}",
            do="The part that the message names does not export as it says: report it.",
        ) from error
    assert program is not None, "with dynamo the export is returned"
    proto = program.model_proto
    for key, value in _metadata(bundle).items():
        proto.metadata_props.add(key=key, value=value)
    import onnx

    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())
    return next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))


def _metadata(bundle: Bundle) -> dict[str, str]:
    assert bundle.preprocess is not None
    return {
        "variorum.kind": bundle.kind,
        "variorum.labels": json.dumps(list(bundle.labels)),
        "variorum.preprocess": bundle.preprocess.to_json(),
        "variorum.spec": bundle.spec.to_json(),
    }


def _compare(model: Part, preprocess: Any, path: Path) -> tuple[float, dict[str, Any], dict[str, Any]]:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, NotImplemented) as error:
        raise VariorumError("exported model", expected="a file that onnxruntime can run", found=str(error)[:300],
                            do="No file was written. Use the bundle itself, and report it.") from error  # fmt: skip
    largest = 0.0
    for rows, length in SIZES:
        sample = preprocess.sample(rows, length)
        with torch.inference_mode():
            wanted = model(**sample)
        found = torch.from_numpy(session.run(None, {name: value.numpy() for name, value in sample.items()})[0])
        if found.shape != wanted.shape:
            raise _differs(f"shape {tuple(wanted.shape)}", f"{tuple(found.shape)}", rows, length)
        gap = float((found.double() - wanted.double()).abs().max())
        if not gap <= TOLERANCE * max(1.0, float(wanted.abs().max())):
            raise _differs(f"the model's answers within {TOLERANCE}", f"a difference of {gap:.3g}", rows, length)
        largest = max(largest, gap)
    inputs, outputs = (
        {value.name: list(value.shape) for value in values} for values in (session.get_inputs(), session.get_outputs())
    )
    return largest, inputs, outputs


def _differs(expected: str, found: str, rows: int, length: int) -> VariorumError:
    return VariorumError(f"exported model, batch {rows}, length {length}", expected=expected, found=found,
                         do="No file was written. Use the bundle itself, and report it.")  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress notes from the terminal; its failures are raised."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
