"""Random arguments of the declared shapes: what the checks feed an algorithm, and parameters in the papers' form."""

import dataclasses
import inspect
from typing import Any

import numpy as np

from variorum.core.errors import VariorumError
from variorum.explain.formal.formula import Formula
from variorum.explain.formal.shapes import BIT, Each, Entries, Many, Maybe, Number, Other, Record, Shape, parse


class Sampler:
    """Draws values of a shape. Sizes not given are drawn from 2 to 5 when first met, and kept."""

    def __init__(self, rng: np.random.Generator, *, sizes: dict[str, int] | None = None) -> None:
        self.rng, self.sizes = rng, dict(sizes or {})

    def size(self, name: str) -> int:
        """The size of this name, or the product of names that ``"H*d_mid"`` is."""
        factors = [int(factor) if factor.isdigit() else self._named(factor) for factor in name.split("*")]
        return int(np.prod(factors))

    def _named(self, name: str) -> int:
        if name == "_":
            return int(self.rng.integers(2, 6))
        if name not in self.sizes:
            self.sizes[name] = int(self.rng.integers(2, 6))
        return self.sizes[name]

    def draw(self, shape: Shape) -> Any:
        """Normal reals of deviation 1/2, uniform indices, masks that hide no token from everything."""
        match shape:
            case Entries():
                return self._array(shape)
            case Number(kind, below, size):
                if below:
                    return int(self.rng.integers(self.size(below)))
                return self.size(size) if size else kind(self.rng.uniform(0.1, 0.9))
            case Many(item, size):
                return tuple(self.draw(item) for _ in range(self.size(size or "_")))
            case Each(items):
                return tuple(self.draw(item) for item in items)
            case Record(cls, fields):
                return cls(**{name: self.draw(field) for name, field in fields.items()})
            case Maybe(item):
                return self.draw(item)
            case Other(annotation) if annotation is np.random.Generator:
                return self.rng
        raise VariorumError("shape to draw", expected="arrays, numbers, records or a generator", found=str(shape),
                            do="Give this argument a default.")  # fmt: skip

    def _array(self, shape: Entries) -> np.ndarray:
        sizes = tuple(self.size(dim) for dim in shape.dims)
        if BIT in shape.dtypes:
            mask = self.rng.random(sizes) < 0.5
            mask[0] = True
            return mask
        if shape.below:
            return self.rng.integers(self.size(shape.below), size=sizes)
        return self.rng.normal(scale=0.5, size=sizes)


def arguments(formula: Formula, *, sampler: Sampler) -> dict[str, Any]:
    """Random arguments for a call of this formula; those with a default are left to it."""
    needed = [name for name, p in formula.signature.parameters.items() if p.default is inspect.Parameter.empty]
    return {name: sampler.draw(formula.takes[name]) for name in needed}


def parameters(cls: type, *, sampler: Sampler) -> Any:
    """Random parameters of this record, for instance ``DTheta``; optional ones are left out."""
    theta = sampler.draw(parse(cls))
    left_out = {f.name: None for f in dataclasses.fields(cls) if f.default is None}
    return dataclasses.replace(theta, **left_out)
