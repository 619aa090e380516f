"""Holding values to declared shapes: every size name stands for one number throughout a call."""

from math import prod
from typing import Any

import numpy as np

from variorum.core.errors import VariorumError
from variorum.explain.formal.shapes import Each, Entries, Many, Maybe, Number, Other, Record, Shape


class Binding:
    """The sizes of one call of an algorithm, by name, as they are met.

    ``hold`` binds the names it meets first and compares those it has met; products and bounds of indices wait until
    ``settle``, when all names are known. A value of another shape raises :class:`VariorumError`.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.sizes: dict[str, int] = {}
        self._products: list[tuple[str, str, int]] = []
        self._bounds: list[tuple[str, str, Any]] = []

    def hold(self, path: str, *, shape: Shape, value: Any) -> None:
        """Hold the value at this path to its shape."""
        match shape:
            case Entries(dims, dtypes, below):
                self._array(path, dims=dims, dtypes=dtypes, value=value)
                if below:
                    self._bounds.append((path, below, value))
            case Number(_, below, size):
                if below:
                    self._bounds.append((path, below, value))
                if size:
                    self._bind(path, name=size, found=value)
            case Many(item, size):
                if size:
                    self._bind(f"the length of {path}", name=size, found=len(value))
                for place, entry in enumerate(value):
                    self.hold(f"{path}[{place}]", shape=item, value=entry)
            case Each(items):
                for place, (item, entry) in enumerate(zip(items, value, strict=True)):
                    self.hold(f"{path}[{place}]", shape=item, value=entry)
            case Record(cls, fields):
                if not isinstance(value, cls):
                    raise self._error(path, expected=f"a {cls.__name__}", found=f"a {type(value).__name__}")
                for name, field in fields.items():
                    self.hold(f"{path}.{name}", shape=field, value=getattr(value, name))
            case Maybe(item):
                if value is not None:
                    self.hold(path, shape=item, value=value)
            case Other():
                return

    def settle(self) -> None:
        """Compare the products and the bounds met so far, whose names are known by now."""
        for path, product, found in self._products:
            expected = prod(self._factor(factor) for factor in product.split("*"))
            if found != expected:
                raise self._error(path, expected=f"{product} = {expected}", found=str(found))
        for path, below, value in self._bounds:
            found = np.asarray(value)
            outside = found[(found < 0) | (found >= self.sizes[below])]
            if outside.size:
                raise self._error(path, expected=f"indices from 0 to {below} - 1 = {self.sizes[below] - 1}",
                                  found=str(outside.flat[0]))  # fmt: skip
        self._products.clear()
        self._bounds.clear()

    def _array(self, path: str, *, dims: tuple[str, ...], dtypes: frozenset[np.dtype], value: Any) -> None:
        if not isinstance(value, np.ndarray) or value.dtype not in dtypes:
            kind = str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
            raise self._error(path, expected=f"a numpy array of {' or '.join(sorted(map(str, dtypes)))}", found=kind)
        if value.ndim != len(dims):
            raise self._error(path, expected=f"{len(dims)} axes ({', '.join(dims)})", found=f"shape {value.shape}")
        for axis, (name, found) in enumerate(zip(dims, value.shape, strict=True)):
            if "*" in name:
                self._products.append((f"axis {axis} of {path}", name, found))
            elif name != "_":
                self._bind(f"axis {axis} of {path}", name=name, found=found)

    def _bind(self, path: str, *, name: str, found: int) -> None:
        expected = self._factor(name) if name.isdigit() else self.sizes.setdefault(name, found)
        if found != expected:
            raise self._error(path, expected=f"{name} = {expected}", found=str(found))

    def _factor(self, name: str) -> int:
        return int(name) if name.isdigit() else self.sizes[name]

    def _error(self, path: str, *, expected: str, found: str) -> VariorumError:
        known = ", ".join(f"{name} = {size}" for name, size in self.sizes.items())
        return VariorumError(f"{path} in {self.subject}", expected=expected, found=found,
                             do=f"Give arrays whose sizes agree (so far: {known or 'none'}).")  # fmt: skip
