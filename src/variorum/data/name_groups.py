"""Groups that file names tell: rows of one speaker, or pieces of one recording, which must not be torn by the split."""

import re
from collections.abc import Sequence

import numpy as np

from variorum.core import VariorumError
from variorum.data.draw import Parts

FOLDS = 5
"""Parts of a grouped split: three are for training, one is for validation, one for the test."""
_SEPARATORS = re.compile(r"[-_. ]+")
_COUNTER = re.compile(r"[-_. (]+\d+\)?$")
_SHARED = 0.8
"""Part of the files whose name must share a value with files of another class."""


def asked_groups(names: Sequence[str], pattern: str) -> list[str]:
    """What a regular expression finds in each name: its first group, or all of it. No match is VariorumError."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise VariorumError("group", expected="a regular expression", found=f"{pattern!r}: {error}",
                            do="Try --group '^([a-z]+)_', what stands before the first _.") from None  # fmt: skip
    found = [expression.search(name) for name in names]
    if missing := [name for name, match in zip(names, found, strict=True) if match is None]:
        raise VariorumError("group", expected=f"a match of {pattern!r} in every file's name",
                            found=f"none in {len(missing)} of {len(names)}, the first {missing[0]!r}",
                            do="Change the pattern, or rename the files.")  # fmt: skip
    return [match[1] if match.re.groups and match[1] is not None else match[0] for match in found if match is not None]


def likely_groups(names: Sequence[str], labels: np.ndarray) -> list[str] | None:
    """Groups that the names look as if they told; None if they do not.

    Either a part of the name, at the same place in all, holds words that come back in several classes (a speaker:
    ``7_jackson_03``), or names are the same but for a counter at their end (pieces of a recording: ``creek 2_013``).
    """
    stems = [name.rpartition(".")[0] or name for name in names]
    tokens = [[token for token in _SEPARATORS.split(stem) if token] for stem in stems]
    shortest = min((len(parts) for parts in tokens), default=0)
    places = [*range(shortest), *range(-shortest, 0)]
    columns = [[parts[place] for parts in tokens] for place in places] if shortest > 1 else []
    speakers = [column for column in columns if _like_speakers(column, labels)]
    if speakers:
        return max(speakers, key=lambda column: len(set(column)))
    pieces = [_COUNTER.sub("", stem) for stem in stems]
    return pieces if _like_recordings(pieces, labels) else None


def grouped(labels: np.ndarray, groups: Sequence[str], seed: int) -> Parts | None:
    """A split near 60/20/20 within each class that tears no group; None where some part would lack a class.

    scikit-learn's StratifiedGroupKFold, with five folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = len(np.unique(labels))
    if len(set(groups)) < FOLDS or np.bincount(labels)[np.unique(labels)].min() < FOLDS:
        return None
    folds = StratifiedGroupKFold(n_splits=FOLDS, shuffle=True, random_state=seed)
    held = [rows for _, rows in folds.split(labels, labels, groups=np.asarray(groups))]
    parts = (np.sort(np.concatenate(held[2:])), np.sort(held[1]), np.sort(held[0]))
    return Parts(*parts) if all(len(np.unique(labels[rows])) == classes for rows in parts) else None


def _like_speakers(column: list[str], labels: np.ndarray) -> bool:
    values, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
    words = sum(counts[i] for i, value in enumerate(values) if len(value) > 1 and re.search(r"[^\W\d]", value))
    if words < 0.9 * len(column) or not FOLDS <= len(values) <= len(column) / 3:
        return False
    return _in_several(codes, labels) >= _SHARED


def _like_recordings(pieces: list[str], labels: np.ndarray) -> bool:
    _, codes = np.unique(pieces, return_inverse=True)
    if np.unique(np.stack([codes, labels]), axis=1).shape[1] > len(pieces) / 2:
        return False
    return min(len(np.unique(codes[labels == label])) for label in np.unique(labels)) >= FOLDS


def _in_several(codes: np.ndarray, labels: np.ndarray) -> float:
    """The part of the files whose group has files of more than one class."""
    pairs = np.unique(np.stack([codes, labels]), axis=1)
    classes = np.bincount(pairs[0], minlength=codes.max() + 1)
    return float((classes[codes] > 1).mean())
