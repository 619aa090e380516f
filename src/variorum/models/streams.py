"""Where the rows of a stream stand, in the state of a model that is given raw inputs piece by piece."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from variorum.core import Layout, State


def begin(model: nn.Module, batch: int, parts: Mapping[str, State]) -> State:
    """The state before the first piece of ``batch`` rows: no length yet, and the states of the model's parts."""
    return State(length=torch.zeros(batch, dtype=torch.int64, device=next(model.parameters()).device), **parts)


def place(x: Tensor, state: State, layout: Layout | None) -> tuple[Layout, Tensor]:
    """How the piece ``x`` lies, counted from where each row stands, and how long each row (rows,) is after it."""
    length = state.tensor("length")
    layout = (layout or Layout()).but(start=length)
    more = torch.tensor(layout.lengths, device=length.device) if layout.packed else x.shape[1]
    return layout, length + more
