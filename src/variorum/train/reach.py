"""Which parameters a result depends on, and how to make it depend on more of them without changing a gradient."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

LEAF = "torch::autograd::AccumulateGrad"
"""What torch calls the end of a graph, where a gradient is added to that of a parameter."""


def reached(whole: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """(parameters,) uint8: 1 for each that ``backward`` of ``whole`` will give a gradient."""
    found, seen, left = set[int](), set[Any](), [whole.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == LEAF:
            found.add(id(cast(Any, node).variable))
        left.extend(before for before, _ in node.next_functions)
    return torch.tensor([id(p) in found for p in parameters], dtype=torch.uint8)


def reaching(whole: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """``whole``, whose ``backward`` gives these parameters, on which it does not depend, a gradient of zeros."""
    return cast(Tensor, _Reaching.apply(whole, *parameters))


class _Reaching(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, *parameters: Tensor) -> Tensor:
        ctx.like = [(p.shape, p.dtype, p.device) for p in parameters]
        return whole.clone()  # FSDP wants no view

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        zeros = (torch.zeros(shape, dtype=dtype, device=device) for shape, dtype, device in ctx.like)
        return slopes[0], *zeros
