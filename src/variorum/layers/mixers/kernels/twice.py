"""Second derivatives of functions whose first derivative is written by hand."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradient_through(
    twin: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor | None], d_outputs: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradient of ``twin(*inputs)`` for each input that asks for one, itself differentiable.

    For the backward pass of an autograd function while torch records it (``create_graph``): what is written by hand
    there uses buffers in place and cannot be recorded, so the function's naive twin is differentiated instead.
    """
    wanted = [x for x in inputs if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad(twin(*inputs), wanted, d_outputs, create_graph=True, allow_unused=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in inputs)
