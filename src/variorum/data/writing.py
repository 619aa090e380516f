"""Preprocesses of models whose answers are written token by token."""

from abc import ABC


class Writing(ABC):
    """Its ``batches`` are what a model reads once, its source; what the model then writes is told to ``answers``.

    start: the id that a row begins with.    end: the id after which it ends.    most: ids that are written at most.
    """

    start: int
    end: int
    most: int
