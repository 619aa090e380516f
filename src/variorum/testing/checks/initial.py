"""Initialisers: every value they are asked to set is set, and none beside it."""

import torch

from variorum.core import Initialiser
from variorum.testing.example import Example, seeded
from variorum.testing.suite import Need, promise

INITIALISER = Need("it is no initialiser", lambda e: issubclass(e.cls, Initialiser))
SHAPES = ((6, 4), (5, 7), (1, 3))


@promise(INITIALISER)
def initial_values_are_set(example: Example) -> None:
    """All values of a matrix become finite ones, the same for the same seed, in every floating type."""
    for shape in SHAPES:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            drawn = [torch.full(shape, torch.nan, dtype=dtype) for _ in range(2)]
            for values in drawn:
                with seeded(0):
                    example.part.draw(values)
            assert drawn[0].isfinite().all(), f"some values of {shape} in {dtype} were not set"
            assert torch.equal(*drawn), f"the same seed gave other values of {shape} in {dtype}"


@promise(INITIALISER)
def initial_values_stay_in_place(example: Example) -> None:
    """Of maps that are stacked in one matrix only the one that is given changes."""
    whole = torch.full((9, 4), torch.nan)
    with seeded(0):
        example.part.draw(whole[2:5])
    assert whole[2:5].isfinite().all(), "the values of a view were not set"
    assert whole[:2].isnan().all() and whole[5:].isnan().all(), "values beside the view were set"
