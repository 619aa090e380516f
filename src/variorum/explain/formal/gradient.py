"""The gradient of a loss by the complex step, and a step of gradient descent.

For a loss that is analytic around real parameters, Im loss(θ + i h e_j) / h = ∂loss/∂θ_j + O(h^2). Nothing is
subtracted, so h = 1e-30 loses no digits: the derivative is exact to rounding, at one forward pass a parameter.
Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions", SIAM Review 40(1).
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from variorum.explain.formal.shapes import Array

Theta = TypeVar("Theta")


def mapped(f: Callable[..., Array], *thetas: Any) -> Any:
    """Parameters of the same form, every array f of the arrays at its place; what is left out (None) stays so."""
    first = thetas[0]
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return f(*thetas)
    if isinstance(first, tuple):
        return tuple(mapped(f, *items) for items in zip(*thetas, strict=True))
    names = [field.name for field in dataclasses.fields(first)]
    return type(first)(**{name: mapped(f, *(getattr(theta, name) for theta in thetas)) for name in names})


def arrays(theta: Any) -> Iterator[Array]:
    """Every array of some parameters, in the order of declaration."""
    if isinstance(theta, np.ndarray):
        yield theta
    elif isinstance(theta, tuple):
        for item in theta:
            yield from arrays(item)
    elif theta is not None:
        for field in dataclasses.fields(theta):
            yield from arrays(getattr(theta, field.name))


def gradient(loss: Callable[[Theta], complex], *, theta: Theta, h: float = 1e-30) -> Theta:
    """∇loss(θ), in the form of θ: the derivative by every entry of every array, one forward pass each."""
    shifted = mapped(lambda array: array.astype(np.complex128), theta)
    slopes = mapped(lambda array: np.zeros(array.shape), theta)
    for array, slope in zip(arrays(shifted), arrays(slopes), strict=True):
        for index in np.ndindex(array.shape):
            array[index] += 1j * h
            slope[index] = np.imag(loss(shifted)) / h
            array[index] = array[index].real
    return slopes


def descended(theta: Theta, *, loss: Callable[[Theta], complex], eta: float) -> Theta:
    """θ - η ∇loss(θ)."""
    return mapped(lambda array, slope: array - eta * slope, theta, gradient(loss, theta=theta))
