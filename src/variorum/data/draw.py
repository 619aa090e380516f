"""Which rows: the split into train, valid and test, and the rows of each training batch. Both depend on seeds alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from variorum.core import VariorumError

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.6, 0.2, 0.2)
"""Parts of the rows that train, valid and test get."""
VALID = 0.25
"""Share of a published training part that is set aside to choose on."""
LEFT, FEWEST_LEFT = 0.25, 200
"""Share of the valid rows, and how many at least, that a training is judged by once its configuration is chosen."""


@dataclass(frozen=True)
class Parts:
    """Row numbers, ascending, of the three parts of a data set."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    def rows(self, name: str) -> np.ndarray:
        """The rows of the part ``train``, ``valid`` or ``test``."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        if name not in parts:
            raise VariorumError("split", expected="train, valid or test", found=repr(name), do="Use one of these.")
        return parts[name]

    def once_chosen(self, seed: int) -> "Parts":
        """The same with valid rows moved to train, all but a quarter (and 200) of them."""
        left = min(len(self.valid), max(FEWEST_LEFT, round(LEFT * len(self.valid))))
        order = np.random.default_rng([seed, 0xC405E]).permutation(self.valid)
        return Parts(np.sort(np.concatenate([self.train, order[left:]])), np.sort(order[:left]), self.test)


def stratified(strata: np.ndarray, seed: int) -> Parts:
    """Split rows 60/20/20 within every stratum, at least one row of each stratum in each part.

    strata: (rows,) integer stratum of each row; a stratum of fewer than 3 rows is the caller's error to report.
    """
    rng = np.random.default_rng([seed, 0x5917])
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for rows in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        held = [max(1, round(share * len(rows))) for share in SHARES[1:]]
        cuts = np.split(rows, np.cumsum([len(rows) - sum(held), held[0]]))
        for part, cut in zip(parts, cuts, strict=True):
            part.append(cut)
    return Parts(*(np.sort(np.concatenate(part)) for part in parts))


def as_given(strata: np.ndarray, parts: Sequence[str], seed: int) -> Parts:
    """The split that somebody has made: ``parts`` says train, valid or test of each row.

    strata: (rows,) integer stratum of each. Without valid rows, a quarter of each stratum of the training ones is set
    aside, of a stratum of one row none.
    """
    told = np.array(parts)
    train, valid = np.flatnonzero(told == "train"), np.flatnonzero(told == "valid")
    if not len(valid):
        rng = np.random.default_rng([seed, 0x7A11])
        groups = [rng.permutation(train[strata[train] == code]) for code in np.unique(strata[train])]
        held = [rows[: max(1, round(VALID * len(rows)))] for rows in groups if len(rows) > 1]
        valid = np.sort(np.concatenate(held)) if held else valid
        train = np.setdiff1d(train, valid)
    return Parts(train, valid, np.flatnonzero(told == "test"))


def strata_of(values: "pd.Series") -> np.ndarray:
    """Strata of 20 rows of like value; the last takes the rest."""
    strata = max(1, len(values) // 20)
    return np.minimum(values.rank(method="first").to_numpy(np.int64) // 20, strata - 1)


def draw(rows: int, step: int, size: int, seed: int) -> np.ndarray:
    """The numbers, of ``rows`` rows, that make the training batch of a step: a function of (seed, step) alone.

    Rows come in an order shuffled anew for each pass, so that after ``rows`` draws every row was drawn once.
    """
    first, last = step * size, (step + 1) * size
    passes = range(first // rows, (last - 1) // rows + 1)
    stream = np.concatenate([_order(rows, seed, number) for number in passes])
    start = first - passes[0] * rows
    return stream[start : start + size]


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(rows)
