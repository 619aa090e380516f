"""A formula: one numbered or named algorithm of a paper, with the function that executes it."""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cached_property, partial, update_wrapper
from typing import Generic, ParamSpec, TypeVar

from variorum.explain.formal.binding import Binding
from variorum.explain.formal.shapes import Shape, parse

P = ParamSpec("P")
R = TypeVar("R")


class Formula(Generic[P, R]):
    """A callable that holds its arguments and its result to the shapes its signature declares.

    ``id`` is the anchor of its section in the documentation, unique in its paper; ``title`` is the paper's heading.
    A value of another shape raises :class:`~variorum.core.errors.VariorumError` before anything is computed.
    """

    def __init__(self, function: Callable[P, R], *, id: str, title: str) -> None:
        self.id, self.title, self.function = id, title, function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        binding = Binding(self.title)
        for name, value in (*zip(self.takes, args, strict=False), *kwargs.items()):
            binding.hold(name, shape=self.takes[name], value=value)
        binding.settle()
        result = self.function(*args, **kwargs)
        binding.hold("the result", shape=self.gives, value=result)
        binding.settle()
        return result

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature of the function."""
        return inspect.signature(self.function)

    @cached_property
    def takes(self) -> Mapping[str, Shape]:
        """The declared shape of every argument."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        return {name: parse(hints[name]) for name in self.signature.parameters}

    @cached_property
    def gives(self) -> Shape:
        """The declared shape of the result."""
        return parse(typing.get_type_hints(self.function, include_extras=True)["return"])


def formula(id: str, *, title: str) -> Callable[[Callable[P, R]], Formula[P, R]]:
    """Make a function the formula of this id."""
    return partial(Formula, id=id, title=title)


def algorithm(number: int, *, title: str) -> Callable[[Callable[P, R]], Formula[P, R]]:
    """Make a function the algorithm of this number in a paper that numbers its algorithms."""
    return partial(Formula, id=f"algorithm-{number}", title=f"Algorithm {number}: {title}")
