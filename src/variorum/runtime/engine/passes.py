"""What is made for a number of rows and kept for the next call with as many."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

_FEW, _KEPT = 64, 16
"""Rows up to which what lies between kernels is kept for the next call; and of how many numbers of rows it is."""
P = TypeVar("P")


class Passes(Generic[P]):
    """By rows, of each thread of Python its own, for what lies between kernels is written to."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __deepcopy__(self, memo: object) -> "Passes[P]":
        return Passes()

    def of(self, rows: int, kind: Hashable, make: Callable[[], P]) -> P:
        """What ``make`` makes of this kind for so many rows; that of many rows is not kept."""
        if rows > _FEW:
            return make()
        made: dict[object, P] = self._local.__dict__.setdefault("made", {})
        key = kind, rows, torch.get_num_threads()
        if key not in made:
            if len(made) >= _KEPT:
                made.pop(next(iter(made)))
            made[key] = make()
        return made[key]
