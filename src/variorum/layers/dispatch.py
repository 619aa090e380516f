"""Each token through the function that it was sent to: gather by function, apply, put back."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def dispatch(functions: Sequence[Callable[[Tensor], Tensor]], chosen: Tensor, x: Tensor) -> Tensor:
    """y_t = functions[chosen_t](x_t).

    ``x`` (tokens, ...) and ``chosen`` (tokens,) int64 -> (tokens, ...). Each function is called once, with the tokens
    sent to it in one piece, which may be empty.
    """
    order = chosen.argsort(stable=True)
    counts = torch.bincount(chosen, minlength=len(functions)).tolist()
    pieces = x[order].split(counts)
    out = torch.cat([function(piece) for function, piece in zip(functions, pieces, strict=True)])
    return torch.empty_like(out).index_copy(0, order, out)


def every(functions: Sequence[Callable[[Tensor], Tensor]], chosen: Tensor, x: Tensor) -> Tensor:
    """The naive twin of :func:`dispatch`, of fixed shapes: all functions of all tokens, from which one is taken."""
    out = torch.stack([function(x) for function in functions])
    index = chosen.view(1, -1, *[1] * (out.dim() - 2)).expand(1, *out.shape[1:])
    return out.gather(0, index).squeeze(0)
