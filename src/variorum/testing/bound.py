"""A part as a function of tensors alone, which is what exporters and compilers want."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from variorum.core import Layout
from variorum.testing.example import Example, Size, tensors


class Bound(nn.Module):
    """``part`` called with equal rows: one tensor for each of the example's streams -> a tuple of tensors."""

    def __init__(self, example: Example, part: nn.Module, size: Size) -> None:
        super().__init__()
        self.part, self.streams = part, example.streams
        self.grid = size if example.traits.grid else None

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One tensor for each stream, in their order, then the coordinates if the part needs them."""
        arguments: dict[str, Any] = {}
        coords = inputs[-1] if len(inputs) > len(self.streams) else None
        for stream, x in zip(self.streams.values(), inputs, strict=False):
            placed = stream.along and (coords is not None or self.grid is not None)
            arguments.update(stream.given(x, Layout(grid=self.grid, coords=coords) if placed else None))
        return tuple(tensors(self.part(**arguments)))


def inputs(example: Example, batch: int, size: Size, beside: int) -> tuple[Tensor, ...]:
    """The tensors of a batch of equal rows, in float32."""
    rows = example.rows(*[size] * batch, longest=beside)
    batched = (torch.stack([row[name] for row in rows]) for name in rows[0])
    return tuple(x.float() if x.is_floating_point() else x for x in batched)


def dynamic(example: Example) -> tuple[dict[int, Any], ...]:
    """Which dimensions of the inputs may be any: the batch, and the length of rows unless the part fixes it."""
    traits = example.traits
    fixed = traits.length or traits.grid or traits.multiple > 1
    found = [{0: Dim.DYNAMIC, **({1: Dim.DYNAMIC} if s.tokens and not (s.along and fixed) else {})}
             for s in example.streams.values()]  # fmt: skip
    return tuple(found + [{0: Dim.DYNAMIC, **({} if fixed else {1: Dim.DYNAMIC})}] * bool(traits.coords))
