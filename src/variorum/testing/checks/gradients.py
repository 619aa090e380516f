"""Gradients: they reach every parameter, and are those of the function computed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from variorum.core import Embed, Skeleton, listen
from variorum.core.hooks import AUXILIARY
from variorum.testing.example import Example, seeded, tensors
from variorum.testing.needs import CALLED, MODULE, PARAMETERS
from variorum.testing.suite import promise


@promise(MODULE, CALLED, PARAMETERS)
def gradient_reaches_parameters(example: Example) -> None:
    """In training, every parameter that asks for a gradient gets one, finite and not all zero."""
    size = example.size(13)
    part = example.build().train()
    with listen(part, f"*{AUXILIARY}") as told, seeded(0):
        outs = tensors(part(**example.given(example.rows(*[size] * 4), size)))
    _weighed([out for out in outs if out.is_floating_point()], [t for told in told.values() for t in told]).backward()
    for name, parameter in part.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert parameter.grad.abs().max() > 0, f"the gradient of {name} is zero"


@promise(MODULE, CALLED)
def gradients_are_right(example: Example) -> None:
    """The gradients of parameters, and of inputs that are vectors, agree with finite differences in float64."""
    size = example.size(3)
    part = example.build()
    given = example.given(example.rows(size, size), size)
    raw = issubclass(example.cls, Embed | Skeleton)  # a raw input may hold codes, or no number at all
    inputs = {name: x for name, x in given.items() if not raw and isinstance(x, Tensor) and x.is_floating_point()}
    parameters = {name: p for name, p in part.named_parameters() if p.requires_grad}
    values = [v.detach().clone().requires_grad_() for v in (*parameters.values(), *inputs.values())]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        own = dict(zip(parameters, values, strict=False))
        moved = dict(zip(inputs, values[len(parameters) :], strict=True))
        out = torch.func.functional_call(part, own, (), {**given, **moved})
        return tuple(t for t in tensors(out) if t.is_floating_point())

    if values:
        agree(run, values)


def agree(run: Callable[..., Tensor | Sequence[Tensor]], values: Sequence[Tensor]) -> None:
    """Raise AssertionError if the gradients of ``run`` differ from finite differences, along one random direction."""
    try:
        torch.autograd.gradcheck(run, values, fast_mode=True)
    except GradcheckError as error:
        raise AssertionError(" ".join(str(error).split("\n\n")[0].split())) from None


def _weighed(outs: list[Tensor], auxiliary: list[Tensor]) -> Tensor:
    """One number that every answer counts in, with random weights, so that none cancels another."""
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(out.shape, generator=generator, dtype=out.dtype) for out in outs]
    terms = [(out * weight).sum() for out, weight in zip(outs, weights, strict=True)]
    return torch.stack(terms + [told.sum() for told in auxiliary]).sum()
