"""Masks: Mask[t_z, t_x] says whether token t_x may take from token t_z."""

import numpy as np

from variorum.core.errors import VariorumError
from variorum.explain.formal.shapes import Array


def bidirectional(l_z: int, *, l_x: int) -> Array:
    """Mask[t_z, t_x] = 1: every token of x sees the whole context z."""
    return np.ones((l_z, l_x), dtype=bool)


def unidirectional(length: int) -> Array:
    """Mask[t_z, t_x] = [[t_z <= t_x]]: a token sees itself and what precedes it."""
    return np.array([[t_z <= t_x for t_x in range(length)] for t_z in range(length)], dtype=bool)


def require_sight(mask: Array) -> None:
    """Raise :class:`~variorum.core.errors.VariorumError` if a token sees nothing: its softmax would be 0/0."""
    blind = np.flatnonzero(~mask.any(axis=0))
    if blind.size:
        raise VariorumError(
            "mask of attention",
            expected="a 1 in every column",
            found=f"none in column {blind[0]}",
            do="Let every token see at least one token, itself for instance.",
        )
