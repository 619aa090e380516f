"""Which column of a table is to be predicted, in which rows it is known, and whether it is a class or a value."""

import math
from typing import TYPE_CHECKING, Any

from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.data.targets import MOST_CLASSES, ClassTarget, ValueTarget, is_value

if TYPE_CHECKING:
    import pandas as pd

USUAL = ("target", "label", "class", "y")
"""What the column to predict is often called."""
FEWEST = 5
"""Rows that every class must have, so that each part of the split holds it."""


def find_target(frame: "pd.DataFrame", target: str | None, source: str) -> str:
    """The name of the column: the one given, or the only one with a usual name; VariorumError if there is none."""
    names = list(frame.columns)
    if target is None:
        usual = [name for name in names if str(name).lower() in USUAL]
        if len(usual) != 1:
            raise VariorumError(
                f"{source} target",
                expected="the name of the column to predict",
                found="none",
                do=f"Name one of: {', '.join(map(str, names[:20]))}{', ...' if len(names) > 20 else ''}.",
            )
        return usual[0]
    if target not in names:
        raise VariorumError(f"{source} target", expected="the name of a column", found=repr(target),
                            do=nearest(str(target), map(str, names)))  # fmt: skip
    return target


def known_targets(frame: "pd.DataFrame", name: str) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """The rows whose target is known."""
    import pandas as pd

    values = frame[name]
    if not values.dropna().map(pd.api.types.is_scalar).all():
        raise VariorumError(
            f"target {name!r}",
            expected="numbers, words or truth values",
            found="lists or other nested values",
            do="Choose another column.",
        )
    known = values.notna() & ~values.isin([math.inf, -math.inf])
    if not known.any():
        raise VariorumError(f"target {name!r}", expected="values", found="a column that is missing in every row",
                            do="Choose another column.")  # fmt: skip
    gone = int((~known).sum())
    return frame[known], (f"{gone} rows have no target {name!r} and are left out.",) if gone else ()


def choose_target(values: "pd.Series") -> tuple[type[Any], str]:
    """Class or value, and a sentence that says so."""
    name, counts = repr(values.name), values.value_counts()
    if len(counts) < 2:
        raise VariorumError(
            f"target {name}",
            expected="at least two different values",
            found=f"only {counts.index[0]!r}",
            do="Choose another column: there is nothing to predict here.",
        )
    if is_value(values):
        if len(values) < 4 * FEWEST:
            raise VariorumError(f"target {name}", expected=f"at least {4 * FEWEST} rows", found=f"{len(values)}",
                                do="Collect more rows.")  # fmt: skip
        return ValueTarget, f"Target {name} has {len(counts)} different numbers: regression."
    rare = counts[counts < FEWEST]
    if len(rare) or len(counts) > MOST_CLASSES:
        shown = (
            ", ".join(f"{label!r} ({count})" for label, count in rare.head(6).items())
            if len(rare)
            else f"{len(counts)} classes"
        )
        raise VariorumError(f"target {name}", expected=f"at most {MOST_CLASSES} classes of at least {FEWEST} rows each",
                            found=f"{len(rare)} classes with fewer: {shown}" if len(rare) else shown,
                            do="Merge or remove the rare classes, or choose another column.")  # fmt: skip
    return ClassTarget, f"Target {name} has {len(counts)} different values: classification."
