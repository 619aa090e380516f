"""Random networks over a batch of data sets: what both priors are made of."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from variorum.data.priors.prior import integer, uniform

ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (torch.tanh, F.leaky_relu, F.elu, torch.sin, lambda x: x)


def nodes(causes: Tensor, *, depth: int, width: int, drop: float, noise: float, generator: Generator) -> list[Tensor]:
    """Activations of every layer of a random network, each data set with weights of its own.

    causes (size, n, inputs) -> depth tensors (size, n, width). An edge is dropped with probability ``drop``; each node
    has a noise deviation of its own, of mean ``noise``. One nonlinearity and one size of weights, drawn once: from 0.5,
    smooth, to 1.5, about as rough as a few hundred rows can still tell.
    """
    activation = ACTIVATIONS[integer(generator, 0, len(ACTIVATIONS) - 1)]
    size, n, found = causes.shape[0], causes.shape[1], []
    x, gain = causes, uniform(generator, 0.5, 1.5)
    for _ in range(depth):
        inputs = x.shape[-1]
        weight = torch.randn(size, inputs, width, generator=generator)
        kept = torch.rand(size, inputs, width, generator=generator) >= drop
        weight = weight * kept / (inputs * (1 - drop)) ** 0.5 * gain
        spread = noise * torch.rand(size, 1, width, generator=generator) * 2
        x = activation(x @ weight) + spread * torch.randn(size, n, width, generator=generator)
        found.append(x)
    return found
