"""Checkpoints: one safetensors file that is the old one or the new one, whole, whenever the process is killed."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from variorum.core import VariorumError
from variorum.core.spec import read_json

FORMAT = 1
ELSEWHERE = "Train into another folder, or remove the checkpoint."
KEY = "variorum.checkpoint"
"""The entry of the file's metadata that holds the record."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds. record: plain JSON values.    tensors: by name; no two share memory."""

    record: dict[str, Any]
    tensors: dict[str, Tensor]

    def write(self, path: Path) -> None:
        """Replace the file. If it cannot be written, :class:`VariorumError`, and the old file is as it was."""
        fresh = path.with_name(path.name + ".new")
        text = json.dumps({"format": FORMAT, **self.record}, allow_nan=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: _alone(tensor) for name, tensor in self.tensors.items()}, fresh, {KEY: text})
            _settle(fresh)
            fresh.replace(path)
            _settle(path.parent)
        except (OSError, SafetensorError) as error:
            fresh.unlink(missing_ok=True)
            size = sum(tensor.nbytes for tensor in self.tensors.values()) / 1e6
            kept = "the checkpoint before it is intact" if path.exists() else "there was none before"
            raise VariorumError(
                f"checkpoint {path}",
                expected=f"room for {size:.1f} MB in a folder that can be written to",
                found=f"{error} ({kept})",
                do="Make room on the disk or choose another folder, and run again.",
            ) from error

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read a file that :meth:`write` made. Anything else raises :class:`VariorumError`; no code is run."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, str(error)) from None
        if KEY not in metadata:
            raise _unreadable(path, "a safetensors file without a training record")
        record = read_json(metadata[KEY], f"checkpoint {path}")
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise _unreadable(path, f"a record that is not of format {FORMAT}")
        return cls(record, tensors)


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; one that has several names under the first of them."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in module.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise VariorumError(f"state {name!r}", expected="a tensor", found=type(value).__name__,
                                do="A part keeps what it must remember in parameters and buffers only.")  # fmt: skip
        if id(value) not in seen:
            seen.add(id(value))
            found[name] = value.detach()
    return found


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], subject: str) -> None:
    """Copy tensors into a module. Missing, unknown or misshapen ones raise :class:`VariorumError`."""
    own = module_tensors(module)
    _check_same({n: tuple(t.shape) for n, t in own.items()}, {n: tuple(t.shape) for n, t in tensors.items()}, subject)
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def optimizer_state(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and numbers of an optimiser's state as ``parameter/key``; ``names`` are the parameters' by ``id``."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            name = f"{names[id(parameter)]}/{key}"
            if isinstance(value, Tensor):
                tensors[name] = value.detach()
            elif value is None or isinstance(value, int | float | bool):
                numbers[name] = value
            else:
                raise VariorumError(f"optimiser state {name!r}", expected="tensors and numbers",
                                    found=type(value).__name__, do="Use another optimiser.")  # fmt: skip
    return tensors, numbers


def load_optimizer(
    optimizer: torch.optim.Optimizer,
    names: Mapping[int, str],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
) -> None:
    """Put a state that :func:`optimizer_state` made into a fresh optimiser of the same parameters."""
    packed = optimizer.state_dict()
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    number_of = {name: number for number, name in enumerate(order)}
    state: dict[int, dict[str, Any]] = {}
    for full, value in [*tensors.items(), *numbers.items()]:
        name, _, key = full.rpartition("/")
        if name not in number_of:
            raise VariorumError("optimiser state", expected="parameters of this model", found=repr(name), do=ELSEWHERE)
        state.setdefault(number_of[name], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": packed["param_groups"]})


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix/``, without it."""
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def _alone(tensor: Tensor) -> Tensor:
    """The tensor contiguous and alone in its memory, as the format wants it."""
    alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if alone else tensor.clone(memory_format=torch.contiguous_format)


def _settle(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_same(own: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], subject: str) -> None:
    if own == found:
        return
    name = next(n for n in sorted({*own, *found}) if own.get(n) != found.get(n))
    said = [f"{name} of shape {shapes[name]}" if name in shapes else f"no {name}" for shapes in (own, found)]
    raise VariorumError(subject, expected=said[0], found=said[1], do=ELSEWHERE)


def _unreadable(path: Path, found: str) -> VariorumError:
    return VariorumError(f"checkpoint {path}", expected="a file that Variorum wrote", found=found,
                         do="Remove it to train from the beginning.")  # fmt: skip
