"""Uneven rows in batches of rows of like length: packed rows of one length go through a mixer together."""

import numpy as np

from variorum.data.draw import draw

WINDOW = 32
"""Batches that are drawn together, and then told apart by length."""
ALIKE = 8
"""Held-out rows of like length that come one after another."""


def draw_alike(lengths: np.ndarray, step: int, size: int, seed: int) -> np.ndarray:
    """The numbers, of rows of these lengths, that make the training batch of a step: a function of (seed, step) alone.

    The rows of ``WINDOW`` batches come in an order shuffled anew for each pass over the rows, as :func:`draw` gives
    them; they are sorted by length, cut into batches, and these come in an order shuffled anew.
    """
    window = max(1, min(WINDOW, len(lengths) // size))
    group, place = divmod(step, window)
    rows = draw(len(lengths), group, size * window, seed)
    rows = rows[np.argsort(lengths[rows], kind="stable")].reshape(window, size)
    return rows[np.random.default_rng([seed, group, 0xA11CE]).permutation(window)[place]]


def in_turn(lengths: np.ndarray) -> np.ndarray:
    """A fixed order of rows in which ``ALIKE`` of like length come together, and these groups as chance has it.

    The first row is one of middling length, so that it is like the others; any part of the order is like the whole.
    """
    ordered = np.argsort(lengths, kind="stable")
    ordered = np.roll(ordered, -(len(ordered) // 2))
    groups = np.split(ordered, np.arange(ALIKE, len(ordered), ALIKE))
    rest = np.random.default_rng(0xA11CE).permutation(len(groups) - 1) + 1
    return np.concatenate([groups[0], *(groups[i] for i in rest)])
