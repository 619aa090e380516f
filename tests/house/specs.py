"""Random specs: of any registered class, with any arguments that fit its constructor's types."""

import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

from hypothesis import strategies as st

from variorum.core import Registered, Spec, registered
from variorum.core.registry import signature

DEEP = 3
TEXT = st.text(max_size=6)


def specs(kind: type[Registered] = Registered, depth: int = 0) -> st.SearchStrategy[Spec[Any]]:
    """Specs of registered classes of a kind, some of their arguments given and some left open or at their default."""
    classes = list(registered(kind).values())
    small = [cls for cls in classes if not any(holds_spec(p.annotation) for p in signature(cls).values())]
    choice = (small or classes) if depth >= DEEP else classes
    return st.sampled_from(choice).flatmap(lambda cls: of(cls, depth))


def of(cls: type[Registered], depth: int = 0) -> st.SearchStrategy[Spec[Any]]:
    """Specs of one class."""
    wanted = {name: values(p.annotation, depth + 1) for name, p in signature(cls).items() if makable(p.annotation)}
    return st.fixed_dictionaries({}, optional=wanted).map(lambda args: cls.spec(**args))


def values(hint: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit a type hint of a constructor."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(arg, depth) for arg in args if makable(arg)])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is Spec:
        return specs(args[0], depth)
    if origin is tuple and args[-1:] != (Ellipsis,):
        return st.tuples(*(values(arg, depth) for arg in args))
    if origin in (tuple, list, Sequence):
        few = st.lists(values(args[0], depth), max_size=3)
        return st.one_of(few, few.filter(bool).map(lambda found: [found[0]] * 3))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return {int: st.integers(-9, 999), float: st.floats(-1e6, 1e6), bool: st.booleans(), str: TEXT,
            type(None): st.none(), None: st.none()}[hint]  # fmt: skip


def makable(hint: Any) -> bool:
    """Can a random value of this type be made? Not where no registered class is of a kind."""
    if typing.get_origin(hint) is Spec:
        (kind,) = typing.get_args(hint)
        return isinstance(kind, type) and bool(registered(kind))
    args = [arg for arg in typing.get_args(hint) if arg is not Ellipsis]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(makable(arg) for arg in args)
    if typing.get_origin(hint) is Literal:
        return True
    known = hint in (int, float, bool, str, type(None), None) or (isinstance(hint, type) and issubclass(hint, Enum))
    return all(makable(arg) for arg in args) if args else known


def holds_spec(hint: Any) -> bool:
    """Does the type speak of a Spec anywhere?"""
    return typing.get_origin(hint) is Spec or any(holds_spec(arg) for arg in typing.get_args(hint))
