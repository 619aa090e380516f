"""Initial values as data: which tensors of a model are drawn anew, by name, and from what."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from variorum.core.errors import VariorumError, nearest
from variorum.core.registry import Registered
from variorum.core.spec import Spec


class Initialiser(Registered, abstract=True):
    """Gives initial values to the tensors whose names match ``names``: patterns such as ``blocks.*.mixer.out.weight``.

    A skeleton carries a sequence of them and applies them in order when it is built (see :func:`initialise`), so that
    initial values are part of the model's Spec. Names are those of ``named_parameters``; linear maps that a part keeps
    stacked in one matrix have names of their own (see :class:`Stacked`).
    """

    kind: ClassVar[str] = "initialiser"
    names: Sequence[str]

    @abstractmethod
    def draw(self, values: Tensor) -> None:
        """Set one tensor, (out, in) if it is the weight of a linear map, in place."""


class Stacked(ABC):
    """A part that keeps several linear maps stacked in one child."""

    @property
    @abstractmethod
    def stacked(self) -> Mapping[str, Mapping[str, int]]:
        """For each such child the maps in it, in order, with their numbers of rows: ``{"qkv": {"query": 8, ...}}``."""


def tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters with their names; of stacked maps each alone, a view: ``blocks.0.mixer.query.weight``."""
    stacked = {
        f"{path}.{child}".lstrip("."): rows
        for path, part in model.named_modules()
        if isinstance(part, Stacked)
        for child, rows in part.stacked.items()
    }
    for name, parameter in model.named_parameters():
        owner, _, leaf = name.rpartition(".")
        if owner not in stacked:
            yield name, parameter.detach()
            continue
        place = owner.rpartition(".")[0]
        pieces = parameter.detach().split(list(stacked[owner].values()))
        for piece, values in zip(stacked[owner], pieces, strict=True):
            yield f"{place}.{piece}.{leaf}".lstrip("."), values


@torch.no_grad()
def initialise(model: nn.Module, initial: Sequence[Spec[Any]]) -> None:
    """Apply initialisers in order. A pattern that matches no tensor of the model raises VariorumError."""
    if not initial:
        return
    found = list(tensors(model))
    for spec in initial:
        initialiser = spec.build()
        for pattern in initialiser.names:
            if not any(fnmatchcase(name, pattern) for name, _ in found):
                raise VariorumError(f"initial values of {pattern!r}", expected="the name of a tensor of the model",
                                    found="no match", do=nearest(pattern, [name for name, _ in found]))  # fmt: skip
        for name, values in found:
            if any(fnmatchcase(name, pattern) for pattern in initialiser.names):
                initialiser.draw(values)
