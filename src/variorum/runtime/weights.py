"""Weights in a safetensors file: written once for each tensor, read only after the header has been compared."""

import json
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from variorum.core import VariorumError
from variorum.core.spec import read_json
from variorum.runtime.trial import Trial, survey

LARGEST_HEADER = 100_000_000
NAMES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
    "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float8_e5m2": "F8_E5M2",
    "torch.uint16": "U16",
    "torch.uint32": "U32",
    "torch.uint64": "U64",
    "torch.complex64": "C64",
}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def write(model: nn.Module, path: Path) -> dict[str, list[Any]]:
    """Write every stored tensor of a model once; returns name -> [dtype, shape]."""
    trial = survey(model)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in trial.tensors.items()}
    save_file(tensors, path)
    return {name: [dtype_name(tensor), list(tensor.shape)] for name, tensor in tensors.items()}


def dtype_name(tensor: Tensor) -> str:
    """The name of a tensor's dtype in safetensors."""
    return NAMES[str(tensor.dtype)]


def header(path: Path) -> dict[str, list[Any]]:
    """Name -> [dtype, shape] of each tensor in a safetensors file, without reading the tensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise _broken(path, f"a header of {length} bytes in a file of {size}")
        tree = read_json(file.read(length), path.name)
    if not isinstance(tree, dict):
        raise _broken(path, "a header that is no object")
    tree.pop("__metadata__", None)
    for entry in tree.values():
        if not (
            isinstance(entry, dict) and isinstance(entry.get("shape"), list) and isinstance(entry.get("dtype"), str)
        ):
            raise _broken(path, f"a header entry {json.dumps(entry)[:80]}")
    return {name: [entry["dtype"], entry["shape"]] for name, entry in tree.items()}


def compare(found: dict[str, list[Any]], trial: Trial) -> None:
    """Are names, shapes and dtypes of a file those of the model? Any floating dtype may stand for another."""
    wanted = {name: [dtype_name(t), list(t.shape)] for name, t in trial.tensors.items()}
    for name in sorted({*found, *wanted}):
        mine, theirs = wanted.get(name), found.get(name)
        alike = mine and theirs and mine[1] == theirs[1] and (mine[0] == theirs[0] or {mine[0], theirs[0]} <= FLOATS)
        if not alike:
            raise VariorumError(
                f"weight {name!r}",
                expected=_says(mine, "by the spec"),
                found=_says(theirs, "in the weights"),
                do="Spec and weights do not belong together: save the bundle again.",
            )


def read_into(model: nn.Module, path: Path) -> None:
    """Give a model the tensors of a file whose header has been compared."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise _broken(path, str(error)) from None
    for name, tensor in survey(model).tensors.items():
        tensor.data = tensors[name]


def _says(entry: list[Any] | None, where: str) -> str:
    return f"{entry[0]} {tuple(entry[1])} {where}" if entry else f"none {where}"


def _broken(path: Path, found: str) -> VariorumError:
    return VariorumError(
        path.name, expected="a whole safetensors file", found=found, do="Copy the bundle again, or save it again."
    )
