"""Sounds by class, before they are decoded."""

from typing import NamedTuple

from variorum.data.sounds import Sound


class Clips(NamedTuple):
    """Sounds, the class of each by its number, and the names of the classes.

    parts: train, valid or test of each, where somebody has split them.     notes: what to say of them.
    """

    sounds: list[Sound]
    classes: list[int]
    names: list[str]
    parts: list[str] | None = None
    notes: tuple[str, ...] = ()
