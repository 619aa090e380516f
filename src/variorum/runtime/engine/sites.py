"""Where in a model something is replaced; and the copies that are rewritten."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from variorum.runtime.engine.precision import Precision
from variorum.runtime.engine.replacement import Replacement, replacements
from variorum.runtime.engine.steps_shortcut import shorten

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Site:
    """A module that a replacement takes, in one or more precisions."""

    path: str
    module: nn.Module
    replacement: Replacement
    precisions: tuple[Precision, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for modules that take equally long: the class and the shapes of its tensors."""
        return (type(self.module), *(tuple(p.shape) for p in self.module.parameters()))

    def made(self, precision: Precision) -> nn.Module:
        """The faster module; this one's module is left as it is."""
        return self.replacement.make(sharing(self.module), precision)


@dataclass(frozen=True)
class Refusal:
    """A module of a class that has a replacement, which does not take it."""

    path: str
    module: nn.Module
    replacement: Replacement
    why: str


def sharing(module: M) -> M:
    """A copy of a module and all in it, whose tensors are the same ones."""
    tensors = (*module.parameters(), *module.buffers())
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def find_sites(
    model: nn.Module, precisions: Iterable[Precision], asked: Precision | None = None
) -> tuple[list[Site], list[Refusal]]:
    """The outermost modules that a replacement takes, in order, and those that one refuses.

    A module that has no form in the precision ``asked`` is passed over where something in it has.
    """
    known, wanted = replacements(), tuple(precisions)
    sites, refusals, taken = list[Site](), list[Refusal](), set[int]()
    for path, module in model.named_modules():
        replacement = known.get(type(module))
        if replacement is None or id(module) in taken:
            continue
        answers = {precision: replacement.refuses(module, precision) for precision in wanted}
        able = tuple(precision for precision, why in answers.items() if why is None)
        if asked in wanted and asked not in able and _inner(module, known, asked):
            continue
        if able:
            sites.append(Site(path, module, replacement, able))
            taken.update(id(inner) for inner in module.modules())
        else:
            refusals.append(Refusal(path, module, replacement, next(filter(None, answers.values()), "no precision")))
    return sites, refusals


def _inner(module: nn.Module, known: Mapping[type[nn.Module], Replacement], precision: Precision) -> bool:
    """Is there something in a module, other than itself, that has a form in this precision?"""
    inner = [(known.get(type(part)), part) for part in module.modules() if part is not module]
    return any(by is not None and by.refuses(part, precision) is None for by, part in inner)


def rewritten(model: M, chosen: Mapping[str, tuple[Replacement, Precision]]) -> M:
    """A copy of the model, tensors shared, with what stands at these paths replaced, wherever else it stands too."""
    model = sharing(model)
    for path, (replacement, precision) in chosen.items():
        old = model.get_submodule(path)
        new = replacement.make(old, precision)
        if new is old:
            continue
        if not path:
            return new  # type: ignore[return-value]  # the whole model is one replaceable part
        for also in [name for name, module in model.named_modules(remove_duplicate=False) if module is old]:
            owner, _, name = also.rpartition(".")
            setattr(model.get_submodule(owner), name, new)
    shorten(model)
    return model
