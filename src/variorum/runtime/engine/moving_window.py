"""A cache of the last tokens of rows that moves on without being copied."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_LEAST = 64
"""Places behind a window when it is laid out anew, where it is not itself longer."""


class _Tape:
    """room: (batch, places, ...).    end: the first place that no window has taken."""

    def __init__(self, window: Tensor) -> None:
        more = window.new_zeros(len(window), max(window.shape[1], _LEAST), *window.shape[2:])
        self.room, self.end = torch.cat([window, more], dim=1), window.shape[1]


class _Place(NamedTuple):
    tape: _Tape
    end: int


_places = WeakIdKeyDictionary()
"""Where the windows lie that were made here."""


def moved_on(window: Tensor, used: int) -> tuple[Tensor, Tensor]:
    """Of a window (batch, reach, ...), its last ``used`` places and all free ones behind; and the window one further.

    The first free place is for the caller to write to. Whoever goes on from a window from which somebody has gone on
    already is given a copy, so that what was written stays.
    """
    place = _places.get(window)
    if place is None or place.end != place.tape.end or place.end == place.tape.room.shape[1]:
        tape = _Tape(window)
        place = _Place(tape, tape.end)
    tape, end = place
    tape.end = end + 1
    after = tape.room[:, tape.end - window.shape[1] : tape.end]
    _places[after] = _Place(tape, tape.end)
    return tape.room[:, end - used :], after
