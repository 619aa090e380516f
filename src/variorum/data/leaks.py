"""What would make held-out scores better than they are: columns that tell the target, rows that come twice."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from variorum.data.columns import numbers, words
from variorum.data.draw import Parts, stratified
from variorum.data.kinds import numbers_rows
from variorum.data.rows import Rows
from variorum.data.targets import Target

if TYPE_CHECKING:
    import pandas as pd

FEWEST_VALUES = 5
"""Different values that a number must have to be called another way of writing the target."""
MOST_REPEATED = 0.5
"""Share of rows that repeat earlier ones; with more of them that is how the data are, and no accident."""


def tells_target(values: "pd.Series", target: "pd.Series", fitted: Target) -> str | None:
    """A warning if a column is the target under another name: each value of one goes with one value of the other, and
    for a number to be estimated, in the same or the opposite order too.
    """
    import pandas as pd

    if values.isna().any() or (values.dtype == object and not values.map(pd.api.types.is_scalar).all()):
        return None
    if fitted.writes == "value":
        ours, theirs = numbers(values), numbers(target)
        if np.isnan(ours).any():
            return None
        order = np.argsort(theirs, kind="stable")
        steps, known = np.diff(ours[order]), np.diff(theirs[order]) > 0
        told = known.sum() >= FEWEST_VALUES - 1 and not steps[~known].any()
        told = told and bool((steps[known] > 0).all() or (steps[known] < 0).all())
    else:
        # Most columns are told apart by how many values they have, before these are made words.
        codes = pd.factorize(words(values))[0] if values.nunique() == len(fitted.labels) else np.zeros(1, np.int64)
        if codes.max() + 1 != len(fitted.labels):
            return None
        pairs = np.unique(codes * len(fitted.labels) + fitted.encode(target))
        told = len(pairs) == len(fitted.labels)
    if not told:
        return None
    return (
        f"Column {values.name!r} tells the target {fitted.name!r} exactly: each value goes with one of the other. "
        "Remove it if it will not be known when you predict."
    )


def first_alike(rows: Rows) -> np.ndarray:
    """(rows,) the number of the first row that is the same in every column but those that number the rows."""
    import pandas as pd

    told = np.zeros(len(rows), np.uint64)
    for name in rows.names:
        values = rows.column(name)
        if pd.api.types.is_numeric_dtype(values) and numbers_rows(numbers(values)):
            continue
        if values.dtype == object:
            values = values.map(str)  # it may hold lists, which have no hash
        hashed = pd.util.hash_pandas_object(values, index=False).to_numpy(np.uint64)
        told = (told ^ hashed) * np.uint64(0x9E3779B97F4A7C15) + (hashed >> np.uint64(7))
    _, first, group = np.unique(told, return_index=True, return_inverse=True)
    return first[group]


def split_together(
    strata: Callable[[np.ndarray], np.ndarray], first: np.ndarray, seed: int
) -> tuple[Parts, tuple[str, ...]]:
    """A stratified split in which rows that are alike are in one part; and what is to be said of it.

    strata: the strata of some of the rows, as if there were no others.     first: see :func:`first_alike`.
    """
    unique = np.unique(first)
    repeated = len(first) - len(unique)
    if not repeated:
        return stratified(strata(unique), seed), ()
    apart = strata(unique)
    counts = np.bincount(apart, minlength=strata(np.arange(len(first))).max() + 1)
    if repeated > MOST_REPEATED * len(first) or counts.min() < 3:
        note = f"{repeated} rows repeat earlier ones, too many to keep together: the test holds rows that training saw."
        return stratified(strata(np.arange(len(first))), seed), (note,)
    parts = stratified(apart, seed)
    part_of = np.zeros(len(first), np.int8)
    for number, rows in enumerate((parts.train, parts.valid, parts.test)):
        part_of[unique[rows]] = number
    of = part_of[first]
    note = f"{repeated} rows repeat earlier ones: rows that are alike are in one part of the split."
    return Parts(*(np.flatnonzero(of == number) for number in range(3))), (note,)
