"""What whoever hands over rows has settled already, so that a task need not find it out from them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.core import Spec, VariorumError
from variorum.data.draw import Parts, strata_of
from variorum.data.targets import ClassTarget, Target, ValueTarget

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Settled:
    """Rows of which no part is kept for a test, as their owner has others for that.

    labels: the classes, in the order of the model's answers; None: a value is asked for.     valid: the share of the
    rows that a training is judged on; all others are trained on.
    """

    labels: tuple[Any, ...] | None
    valid: float

    def __post_init__(self) -> None:
        if not 0 < self.valid < 1:
            raise VariorumError("validation_fraction", expected="a share of the rows, above 0 and below 1",
                                found=str(self.valid), do="Try 0.2.")  # fmt: skip

    def divide(self, values: "pd.Series", seed: int) -> tuple[Parts, Spec[Target]]:
        """Which rows are trained and judged on, for their targets (rows,), and the target that these make.

        Of every class (of every 20 rows of like value) the share is set aside, of small ones none. Raises
        :class:`VariorumError` where every class has one row.
        """
        if self.labels is None:
            parts = _set_aside(strata_of(values), self.valid, seed)
            return parts, ValueTarget.fit(values.iloc[parts.train])
        target = ClassTarget.spec(name=str(values.name), labels=self.labels)
        return _set_aside(target.build().encode(values), self.valid, seed), target


def _set_aside(strata: np.ndarray, share: float, seed: int) -> Parts:
    """Rows (rows,) of integer strata, the share of each to judge on; at least one row, and never all of a stratum."""
    rng = np.random.default_rng([seed, 0x5E7])
    groups = [rng.permutation(np.flatnonzero(strata == stratum)) for stratum in np.unique(strata)]
    valid = np.concatenate([rows[: min(len(rows) - 1, round(share * len(rows)))] for rows in groups])
    if not len(valid):
        largest = max(groups, key=len)
        if len(largest) < 2:
            raise VariorumError("rows", expected="two rows of a class, one of which training is judged on",
                                found=f"{len(groups)} classes of 1 sample each", do="Add rows.")  # fmt: skip
        valid = largest[:1]
    return Parts(np.setdiff1d(np.arange(len(strata)), valid), np.sort(valid), np.zeros(0, np.int64))
