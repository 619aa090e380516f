"""Tables: columns of numbers, categories and dates, and a class or a value to predict."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.core.errors import nearest
from variorum.data.columns import Column, NumberColumn
from variorum.data.draw import Parts, draw, stratified
from variorum.data.frames import read_table
from variorum.data.kinds import choose
from variorum.data.preprocess import Preprocess
from variorum.data.sets.bundled import find_set
from variorum.data.targets import MOST_CLASSES, ClassTarget, Target, ValueTarget, is_value
from variorum.data.task import Batch, Split, Task
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.objectives.squared_error import SquaredError

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5
"""Rows that every class must have, so that each part of the split holds it."""


class TableColumns(Preprocess):
    """Rows of a table -> float32 (rows, columns): numbers standardised (NaN where missing), categories as codes."""

    reads = "table"
    examples = (
        {
            "columns": (NumberColumn.spec(name="a", mean=0.0, scale=1.0),),
            "target": ClassTarget.spec(name="y", labels=("n", "p")),
        },
    )

    def __init__(self, *, columns: Sequence[Spec[Column]], target: Spec[Target]) -> None:
        self.columns = tuple(column.build() for column in columns)
        self.target = target.build()

    @classmethod
    def fit(cls, frame: "pd.DataFrame", target: Spec[Target]) -> "tuple[Spec[TableColumns], tuple[str, ...]]":
        """What the training rows teach about every column but the target, and what was left out or repaired and why."""
        columns, notes = [], []
        for name in frame.columns:
            if name != target["name"]:
                column, note = choose(frame[name])
                columns += [column] if column else []
                notes += [note] if note else []
        if not columns:
            raise VariorumError(
                "table",
                expected="a column to predict from",
                found=" ".join(notes) or "the target alone",
                do="Add columns that say something about the target.",
            )
        return cls.spec(columns=columns, target=target), tuple(notes)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """For each column that comes out: 0 for a number, else how many codes there are."""
        return tuple(c for column in self.columns for c in column.cardinalities)

    def encode(self, frame: "pd.DataFrame") -> np.ndarray:
        """(rows, columns) float32. A column that is missing from ``frame`` raises VariorumError."""
        for column in self.columns:
            if column.name not in frame.columns:
                raise VariorumError(
                    "table",
                    expected=f"the column {column.name!r}, which the model was trained on",
                    found="none of this name",
                    do=nearest(column.name, map(str, frame.columns)),
                )
        if not len(frame):
            return np.zeros((0, len(self.cardinalities)), np.float32)
        return np.concatenate([column.encode(frame[column.name]) for column in self.columns], axis=1)

    def open(self, rows: Any) -> "pd.DataFrame":
        """Rows from a path, a DataFrame, a dictionary of columns, a list of dictionaries, or an array."""
        import pandas as pd

        if isinstance(rows, str | Path):
            return open_table(rows)[0]
        if isinstance(rows, pd.DataFrame):
            return rows
        if isinstance(rows, np.ndarray | Tensor):
            values = np.asarray(rows)
            if values.ndim != 2 or values.shape[1] != len(self.columns):
                raise VariorumError(
                    "rows",
                    expected=f"an array of shape (rows, {len(self.columns)})",
                    found=f"shape {values.shape}",
                    do="Give the columns that the model was trained on.",
                )
            return pd.DataFrame(values, columns=[column.name for column in self.columns])
        try:
            return pd.DataFrame(rows)
        except (ValueError, TypeError) as error:
            raise VariorumError("rows", expected="a path, a DataFrame, an array, or a list of dictionaries",
                                found=f"{type(rows).__name__}: {error}", do="Give one of these.") from None  # fmt: skip

    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        encoded = torch.from_numpy(self.encode(rows))
        return ({"inputs": piece} for piece in encoded.split(size) if len(encoded))

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"inputs": {0: "batch"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        rng = np.random.default_rng(0)
        made = [rng.integers(size, size=rows) if size else rng.standard_normal(rows) for size in self.cardinalities]
        encoded = np.stack(made, axis=1).astype(np.float32)
        holes = (rng.random(encoded.shape) < 0.1) & (np.array(self.cardinalities) == 0)
        return {"inputs": torch.from_numpy(np.where(holes, np.float32(np.nan), encoded))}

    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        import pandas as pd

        told = self.target.decode(torch.cat(outputs).double().numpy()) if outputs else {"prediction": []}
        return pd.DataFrame(told, index=rows.index)


class TableTask(Task):
    """Predict a column of a table: a class (accuracy) or a value (squared error in units of the training variance).

    source: a .csv, .tsv or .parquet file, or a bundled name.  target: the column to predict; the bundled tables know
    theirs, else it is named ``target``, ``label``, ``class`` or ``y``, or must be given.
    frame: the rows, when they have been read already; ``source`` then only names them.
    The split into train, valid and test (60/20/20, stratified by class or by size of the value) depends on ``seed``
    alone. ``notes`` say what was detected, repaired and left out.
    """

    reads = "table"
    examples = ({"source": "iris"}, {"source": "diabetes"})

    def __init__(self, source: str, *, target: str | None = None, seed: int = 0, frame: Any = None) -> None:
        frame, notes = (frame, ()) if frame is not None else open_table(source)
        self.source, self.seed = source, seed
        name = _find_target(frame, target if target is not None else _usual_target(source), source)
        frame, more = _known_targets(frame, name)
        kind, said = _choose_target(frame[name])
        strata = kind.fit(frame[name]).build().encode(frame[name]) if kind is ClassTarget else _ranks(frame[name])
        self.parts: Parts = stratified(strata, seed)
        train = frame.iloc[self.parts.train]
        fitted = kind.fit(frame[name] if kind is ClassTarget else train[name])
        self.preprocess, left_out = TableColumns.fit(train, fitted)
        columns = self.preprocess.build()
        self.target: Target = columns.target
        self.labels: tuple[Any, ...] = columns.target.labels
        self.cardinalities = columns.cardinalities
        self.notes: tuple[str, ...] = (*notes, *more, said, *left_out)
        self._rows = torch.from_numpy(columns.encode(frame))
        self._targets = torch.from_numpy(columns.target.encode(frame[name]))
        self.metric, self.higher_is_better = _METRICS[self.writes]

    @property
    def writes(self) -> str:
        """Which head answers the task: class or value."""
        return self.target.writes

    @property
    def facts(self) -> dict[str, Any]:
        classes = {"classes": len(self.labels)} if self.writes == "class" else {}
        return {"columns": self.cardinalities, **classes}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec() if self.writes == "class" else SquaredError.spec()

    def batch(self, step: int, size: int, seed: int) -> Batch:
        return self._batch(self.parts.train[draw(len(self.parts.train), step, size, seed)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = self.parts.rows(split)
        return (self._batch(rows[i : i + size]) for i in range(0, len(rows), size))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        if self.writes == "class":
            return (outputs.argmax(dim=-1) == targets).float()
        return (outputs.reshape(targets.shape) - targets).square()

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Encoded rows (rows, columns) float32 and targets (rows,) of train, valid or test."""
        rows = self.parts.rows(split)
        return self._rows.numpy()[rows], self._targets.numpy()[rows]

    def r2(self, split: Split, error: float) -> float:
        """The share of a split's variance that a mean squared error leaves explained: 1 - error / variance."""
        return 1.0 - error / float(self._targets[torch.from_numpy(self.parts.rows(split))].var(correction=0))

    def _batch(self, rows: np.ndarray) -> Batch:
        index = torch.from_numpy(rows)
        return Batch({"inputs": self._rows[index]}, self._targets[index])


_METRICS = {"class": ("accuracy", True), "value": ("squared error", False)}


def open_table(source: str | Path) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """The rows of a file or of a bundled table, and notes on them."""
    bundled = find_set(source, "table")
    return (bundled.read(), (bundled.says,)) if bundled else read_table(source)


def _usual_target(source: str | Path) -> str | None:
    bundled = find_set(source, "table")
    return bundled.asks.get("target") if bundled else None


def _find_target(frame: "pd.DataFrame", target: str | None, source: str) -> str:
    names = list(frame.columns)
    if target is None:
        usual = [name for name in names if str(name).lower() in ("target", "label", "class", "y")]
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
                            do=nearest(target, map(str, names)))  # fmt: skip
    return target


def _known_targets(frame: "pd.DataFrame", name: str) -> "tuple[pd.DataFrame, tuple[str, ...]]":
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


def _choose_target(values: "pd.Series") -> tuple[type[Any], str]:
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


def _ranks(values: "pd.Series") -> np.ndarray:
    """Strata of 20 rows of like value; the last takes the rest."""
    strata = max(1, len(values) // 20)
    return np.minimum(values.rank(method="first").to_numpy(np.int64) // 20, strata - 1)
