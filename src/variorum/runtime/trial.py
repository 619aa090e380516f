"""A model built without memory, to see what it would be: nothing is allocated before its size is known to be sane."""

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from variorum.core import Registered, Spec, VariorumError

FEWEST_BYTES = 1 << 28
TIMES = 8
"""A model may take this many times the bytes of its weights file (tables and masks that are computed, not stored)."""
FEWEST_INTEGER = 10_000_000


T = TypeVar("T", bound=Registered)


@dataclass(frozen=True)
class Trial:
    """What a spec builds. tensors: every stored tensor by name, on the meta device.

    aliases: names that are one tensor with another, earlier name.  nbytes: of all parameters and buffers.
    """

    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    nbytes: int


def try_build(spec: Spec[Any], *, stored_bytes: int, stored_tensors: int) -> Trial:
    """Build a spec on the meta device, within limits that follow from what the weights file holds.

    Raises :class:`VariorumError` if it cannot be built, or would be far larger than the file.
    """
    _check_integers(spec, max(FEWEST_INTEGER, stored_bytes))
    with (
        _building(spec),
        torch.device("meta"),
        _bounded(modules=100 * stored_tensors + 10_000, tensors=4 * stored_tensors + 1000),
    ):
        model = spec.build()
    trial = survey(model)
    if trial.nbytes > (limit := TIMES * stored_bytes + FEWEST_BYTES):
        raise VariorumError(
            "bundle spec",
            expected=f"a model of at most {limit:,} bytes, by the size of the weights file",
            found=f"{trial.nbytes:,} bytes",
            do="The spec and the weights do not belong together: save again.",
        )
    return trial


def build(spec: Spec[T]) -> T:
    """Build a spec in memory; the random numbers that initial values take are not missed elsewhere."""
    with _building(spec), torch.random.fork_rng(devices=[]):
        return spec.build()


def survey(model: nn.Module) -> Trial:
    """Names, aliases and bytes of a model's tensors; stored state that is no tensor raises VariorumError."""
    state = model.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    aliases = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise VariorumError(f"state {name!r}", expected="a tensor", found=type(tensor).__name__,
                                do="Keep it as a buffer, or as a constructor argument.")  # fmt: skip
        if first.setdefault(id(tensor), name) != name:
            aliases[name] = first[id(tensor)]
    everything = {id(t): t for t in (*model.parameters(), *model.buffers())}
    nbytes = sum(math.prod(t.shape) * t.element_size() for t in everything.values())
    return Trial({n: t for n, t in state.items() if n not in aliases}, aliases, nbytes)


@contextmanager
def _building(spec: Spec[Any]) -> Iterator[None]:
    try:
        yield
    except VariorumError:
        raise
    # A constructor given senseless arguments may raise anything; the reader of a file needs one error that says so.
    except Exception as error:
        raise VariorumError(
            "bundle spec",
            expected="a model that can be built",
            found=f"{type(error).__name__}: {error} in {spec.part}",
            do="Save it again with the version of Variorum that made it.",
        ) from error


def _check_integers(spec: Spec[Any], limit: int) -> None:
    for path, node in spec.walk():
        for name, value in node.args:
            for item in _integers(value):
                if abs(item) > limit:
                    raise VariorumError(
                        f"bundle spec {path}{'.' if path else ''}{name}",
                        expected=f"a whole number up to {limit:,}, by the size of the weights file",
                        found=f"{item}",
                        do="The spec and the weights do not belong together: save again.",
                    )


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _integers(item)


@contextmanager
def _bounded(*, modules: int, tensors: int) -> Iterator[None]:
    """End a building in this thread that makes more modules or tensors than given."""
    here, made = threading.get_ident(), {"modules": 0, "tensors": 0}

    def count(what: str, limit: int) -> Any:
        def hook(owner: nn.Module, name: str, new: Any) -> None:
            if threading.get_ident() == here:
                made[what] += 1
                if made[what] > limit:
                    raise VariorumError(
                        "bundle spec",
                        expected=f"at most {limit:,} {what}, by what the weights file holds",
                        found="more",
                        do="The spec and the weights do not belong together: save again.",
                    )

        return hook

    with ExitStack() as stack:
        for register, what, limit in (
            (torch_module.register_module_module_registration_hook, "modules", modules),
            (torch_module.register_module_parameter_registration_hook, "tensors", tensors),
            (torch_module.register_module_buffer_registration_hook, "tensors", tensors),
        ):
            handle = register(count(what, limit))
            stack.callback(handle.remove)
        yield
