"""Weights of their own for each segment: copies of a pointwise module, and each token through its segment's copy."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy

from torch import Tensor, nn

from variorum.core import Channel, Norm, Part, Projection, Traits, VariorumError
from variorum.core.traits import POINTWISE
from variorum.layers.dispatch import dispatch

_segments: ContextVar[Tensor | None] = ContextVar("segments", default=None)
POINTWISE_PARTS = Channel | Norm | Projection
"""Parts that look at one token at a time, and are copied whole."""


@contextmanager
def segments(of_tokens: Tensor) -> Iterator[None]:
    """Inside, :class:`BySegment` modules send tokens to the copies that ``of_tokens`` (*tokens,) names."""
    token = _segments.set(of_tokens)
    try:
        yield
    finally:
        _segments.reset(token)


class BySegment(nn.Module):
    """y_t = copies[segment_t](x_t), each copy with initial values of its own.

    ``x`` (*tokens, ...) is what a pointwise module sees, for the tokens that :func:`segments` told of; anything else
    raises VariorumError.
    """

    def __init__(self, module: nn.Module, count: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList([module, *(_anew(module) for _ in range(count - 1))])

    @property
    def traits(self) -> Traits:
        """Those of the module that it is copies of."""
        first = self.copies[0]
        return first.traits if isinstance(first, Part) else POINTWISE

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (*tokens, width) or (*tokens, heads, width) -> likewise."""
        told = _segments.get()
        if told is None or x.shape[: told.dim()] != told.shape:
            raise VariorumError("BySegment", expected=f"tokens {None if told is None else tuple(told.shape)}",
                                found=f"a tensor of shape {tuple(x.shape)}",
                                do="Untie layers whose mixers project all tokens as they are given.")  # fmt: skip
        rows = x.reshape(-1, *x.shape[told.dim() :])
        return dispatch(list(self.copies), told.flatten(), rows).unflatten(0, told.shape)


def untie(module: nn.Module, count: int) -> None:
    """Put a :class:`BySegment` of ``count`` copies in place of every pointwise module inside, in place.

    Channels, norms and projections are copied whole, and what else holds parameters as linear maps. A parameter that
    belongs to none of them raises VariorumError: it could not be told apart by token.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, POINTWISE_PARTS | nn.Linear):
            if any(True for _ in child.parameters()):
                setattr(module, name, BySegment(child, count))
        else:
            untie(child, count)
    own = [name for name, _ in module.named_parameters(recurse=False)]
    if own and not isinstance(module, BySegment):
        raise VariorumError(f"the parameters {', '.join(own)} of {type(module).__name__}",
                            expected="parameters of channels, norms, projections and linear maps only",
                            found="others", do="Use a layer without them.")  # fmt: skip


def _anew(module: nn.Module) -> nn.Module:
    """The same module with initial values of its own."""
    if isinstance(module, Part) and module.built_from is not None:
        return module.built_from.build()
    other = deepcopy(module)
    if isinstance(other, nn.Linear):
        other.reset_parameters()
    return other
