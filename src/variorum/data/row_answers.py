"""What whole rows (a series, a shape) are labelled with, and how they are split where nobody has split them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from variorum.core import Spec, VariorumError
from variorum.data.draw import Parts, as_given, strata_of, stratified
from variorum.data.targets import MOST_CLASSES, ClassTarget, Target, ValueTarget, is_value

FEWEST = 5
"""Rows of each class where the rows have to be split, so that each part holds it."""


class Answers(NamedTuple):
    """codes: (rows,) classes int64, or standardised values float32.    target: how they are said."""

    codes: np.ndarray
    target: Spec[Target]
    parts: Parts
    notes: tuple[str, ...]


def answers(
    subject: str, labels: Sequence[Any], *, what: str, seed: int, given: list[str] | None = None, classes: bool = False
) -> Answers:
    """The answers of rows in numbers, and the split into train, valid and test.

    labels: known ones, words or numbers.     what: the rows' name, such as ``series``.     given: train, valid or
    test of each row, where somebody has split them (see :func:`~variorum.data.draw.as_given`).     classes: they are
    classes even if they look like amounts. Raises :class:`VariorumError` where there is nothing to learn.
    """
    import pandas as pd

    values = pd.Series(_plain(labels), name="class")
    counts = values.value_counts()
    if len(counts) < 2:
        raise VariorumError(subject, expected="at least two different answers",
                            found="none" if not len(counts) else f"only {counts.index[0]!r}",
                            do="Add rows of another class.")  # fmt: skip
    if not classes and is_value(values):
        parts = _parts(subject, strata_of(values), seed, given)
        target: Spec[Target] = ValueTarget.fit(values.iloc[parts.train])
        return Answers(target.build().encode(values), target, parts, (f"{len(counts)} different numbers: regression.",))
    if len(counts) > MOST_CLASSES:
        raise VariorumError(subject, expected=f"at most {MOST_CLASSES} classes", found=str(len(counts)),
                            do="Merge classes.")  # fmt: skip
    if given is None and (rare := counts[counts < FEWEST]).size:
        shown = ", ".join(f"{label!r} ({n})" for label, n in rare.head(6).items())
        raise VariorumError(subject, expected=f"at least {FEWEST} {what} of each class", found=f"too few in {shown}",
                            do=f"Add {what}, or remove the class.")  # fmt: skip
    target = ClassTarget.fit(values)
    codes = target.build().encode(values)
    parts = _parts(subject, codes, seed, given)
    if len(set(codes[parts.train].tolist())) < 2:
        raise VariorumError(subject, expected="at least two classes in the training part", found="one",
                            do="Add training rows of another class.")  # fmt: skip
    unseen = set(codes[parts.test].tolist()) - {*codes[parts.train].tolist(), *codes[parts.valid].tolist()}
    names = target.build().labels
    notes = [f"No training row is of class {names[code]!r}, which the test part has." for code in sorted(unseen)]
    return Answers(codes, target, parts, tuple(notes))


def _plain(labels: Sequence[Any]) -> list[Any]:
    """Words that are all whole numbers become such; numpy's values become Python's."""
    plain = [label.item() if isinstance(label, np.generic) else label for label in labels]
    if all(isinstance(label, str) and label.isascii() and label.removeprefix("-").isdigit() for label in plain):
        whole = [int(label) for label in plain if len(label) < 16]
        if len(whole) == len(plain) and all(str(n) == label for n, label in zip(whole, plain, strict=True)):
            return whole
    return plain


def _parts(subject: str, strata: np.ndarray, seed: int, parts: list[str] | None) -> Parts:
    if parts is None:
        if np.bincount(strata).max(initial=0) < 3:
            raise VariorumError(subject, expected=f"at least {FEWEST} rows", found=str(len(strata)),
                                do="Collect more rows.")  # fmt: skip
        return stratified(strata, seed)
    split = as_given(strata, parts, seed)
    if not len(split.train) or not len(split.valid) or not len(split.test):
        raise VariorumError(subject, expected="at least two training rows of a class, and a test row",
                            found=f"{parts.count('train')} and {parts.count('test')}", do="Add rows.")  # fmt: skip
    return split
