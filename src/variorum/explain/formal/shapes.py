"""Declared shapes: the annotation of an argument, a result or a parameter record, read into a small tree.

An array of R^(d_e x N_V) is annotated ``Real[Array, "d_e N_V"]``, a token ``Annotated[int, Below("N_V")]``, the heads
of an attention ``Annotated[tuple[Head, ...], Size("H")]``. A record (a dataclass of arrays) may be used under other
names of its sizes: ``Annotated[Head, {"d_out": "d_mid"}]``.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import AbstractArray, AbstractDtype

Array = np.ndarray
BIT = np.dtype(bool)


class Real(AbstractDtype):
    """A float64 array. A complex128 one passes too, so that a derivative can be taken by the complex step."""

    dtypes: ClassVar = ["float64", "complex128"]


class Index(AbstractDtype):
    """An integer array, of tokens for instance."""

    dtypes: ClassVar = ["int64", "int32"]


class Bit(AbstractDtype):
    """An array of truth values, a mask for instance."""

    dtypes: ClassVar = ["bool"]


@dataclass(frozen=True)
class Below:
    """The integer, or every entry of the integer array, is one of 0, 1, ..., ``size`` - 1."""

    size: str


@dataclass(frozen=True)
class Size:
    """The integer is itself the size of this name; of a tuple, its length is."""

    name: str


@dataclass(frozen=True)
class Entries:
    """An array: its sizes by name (``"H*d_mid"`` is a product, ``"_"`` any size), its dtypes, the bound of an index."""

    dims: tuple[str, ...]
    dtypes: frozenset[np.dtype]
    below: str | None

    def __str__(self) -> str:
        sizes = " × ".join("any" if dim == "_" else dim.replace("*", "·") for dim in self.dims)
        entries = f"[{self.below}]" if self.below else "{0, 1}" if BIT in self.dtypes else "R"
        return f"{entries}^({sizes})"


@dataclass(frozen=True)
class Number:
    """A single number: a token or position below a bound, a size of its own, or a plain hyper-parameter."""

    kind: type
    below: str | None
    size: str | None

    def __str__(self) -> str:
        return f"[{self.below}]" if self.below else {int: "N", float: "R"}[self.kind]


@dataclass(frozen=True)
class Many:
    """A tuple of like things; ``size`` names how many, if it has a name."""

    item: "Shape"
    size: str | None


@dataclass(frozen=True)
class Each:
    """A tuple of unlike things."""

    items: tuple["Shape", ...]


@dataclass(frozen=True)
class Record:
    """A dataclass of parameters with the shape of every field."""

    cls: type
    fields: Mapping[str, "Shape"]


@dataclass(frozen=True)
class Maybe:
    """Something that may be left out (None)."""

    item: "Shape"


@dataclass(frozen=True)
class Other:
    """What has no shape: a random generator, a nonlinearity, a forward pass."""

    annotation: Any


Shape = Entries | Number | Many | Each | Record | Maybe | Other


def parse(annotation: Any, *, rename: Callable[[str], str] = lambda name: name) -> Shape:
    """The shape an annotation declares; ``rename`` maps the size names of the annotation to those of its user."""
    below = size = None
    if typing.get_origin(annotation) is Annotated:
        annotation, *notes = typing.get_args(annotation)
        below = next((rename(note.size) for note in notes if isinstance(note, Below)), None)
        size = next((rename(note.name) for note in notes if isinstance(note, Size)), None)
        for names in (note for note in notes if isinstance(note, dict)):
            rename = _after(names, rename)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, UnionType) and NoneType in args and len(args) == 2:
        return Maybe(parse(next(arg for arg in args if arg is not NoneType), rename=rename))
    if origin is tuple and args[-1] is Ellipsis:
        return Many(parse(args[0], rename=rename), size)
    if origin is tuple:
        return Each(tuple(parse(arg, rename=rename) for arg in args))
    if annotation in (int, float):
        return Number(annotation, below, size)
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        dims = tuple("*".join(map(rename, dim.split("*"))) for dim in annotation.dim_str.split())
        return Entries(dims, frozenset(map(np.dtype, annotation.dtypes)), below)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return Record(annotation, {name: parse(hint, rename=rename) for name, hint in hints.items()})
    return Other(annotation)


def _after(names: Mapping[str, str], rename: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: rename(names.get(name, name))


def lines(path: str, *, shape: Shape) -> Iterator[tuple[str, str]]:
    """Every array and number of a shape as (path, set it lies in), in the order of declaration."""
    match shape:
        case Entries() | Number():
            yield path, str(shape)
        case Maybe(item):
            yield from ((inner, f"{within}, or left out") for inner, within in lines(path, shape=item))
        case Many(item, size):
            yield from lines(f"{path}[1..{size}]" if size else f"{path}[..]", shape=item)
        case Each(items):
            for place, item in enumerate(items):
                yield from lines(f"{path}[{place}]", shape=item)
        case Record(_, fields):
            for name, field in fields.items():
                yield from lines(f"{path}.{name}", shape=field)
        case Other():
            return
