"""Everybody leaves at one exit."""

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.models.exits.policy import ExitPolicy, Seen


class FixedExit(ExitPolicy):
    """n_t = exit for all tokens, counted from 1; unless given the last, which is the model without early exits."""

    examples = ({"exits": 3}, {"exits": 3, "exit": 2})

    def __init__(self, exits: int, *, exit: int | None = None) -> None:
        super().__init__()
        self.exit = exits if exit is None else exit
        if not 1 <= self.exit <= exits:
            raise VariorumError(
                "FixedExit exit", expected=f"one of 1 to {exits}", found=str(exit), do="Choose another."
            )

    def forward(self, seen: Seen) -> Tensor:
        return torch.tensor(seen.exit + 1 >= self.exit, device=seen.x.device)
