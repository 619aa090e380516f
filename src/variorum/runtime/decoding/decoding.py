"""Decoding: a way from the scores of next tokens to rows."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from variorum.runtime.decoding.flight import Flight


class Limits(NamedTuple):
    """When a row ends: after one of the tokens ``ends``, or when it has ``most`` new tokens."""

    most: int
    ends: tuple[int, ...] = ()


class Decoding(ABC):
    """Chooses what is written."""

    @abstractmethod
    def write(self, flight: Flight, limits: Limits) -> list[Tensor]:
        """The new tokens of each row of the flight, with the ending one if there is one."""
