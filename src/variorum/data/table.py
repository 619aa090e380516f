"""Tables: columns of numbers, categories and dates, and a class or a value to predict."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.answering import METRICS, objective_of, scored
from variorum.data.columns import Column, NumberColumn
from variorum.data.divided import DividedRows
from variorum.data.draw import Parts, draw, strata_of
from variorum.data.frames import MEMORY, open_rows
from variorum.data.given_frame import check_trained_on, say, to_answer, to_learn_from
from variorum.data.kinds import choose
from variorum.data.leaks import first_alike, split_together, tells_target
from variorum.data.opened import opened, usual
from variorum.data.preprocess import Preprocess
from variorum.data.rows import PIECE, InMemory, Rows
from variorum.data.sets.bundled import find_set
from variorum.data.settled import Settled
from variorum.data.target_column import choose_target, find_target, known_targets
from variorum.data.targets import ClassTarget, Target, in_numbers
from variorum.data.task import Batch, Split

if TYPE_CHECKING:
    import pandas as pd


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
    def fit(
        cls, rows: Rows, train: np.ndarray, target: Spec[Target], known: "pd.Series"
    ) -> "tuple[Spec[TableColumns], tuple[str, ...]]":
        """What the training rows teach about every column but the target, and what was left out or repaired and why.

        train: their numbers among ``rows``.     known: their targets.
        """
        columns, notes, answer = list[Spec[Column]](), list[str](), target.build()
        for name in rows.names:
            if name != answer.name:
                values = rows.column(name).iloc[train].reset_index(drop=True)
                column, note = choose(values)
                warning = tells_target(values, known, answer) if column else None
                columns += [column] if column else []
                notes += [said for said in (note, warning) if said]
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
        check_trained_on(frame, [column.name for column in self.columns])
        if not len(frame):
            return np.zeros((0, len(self.cardinalities)), np.float32)
        return np.concatenate([column.encode(frame[column.name]) for column in self.columns], axis=1)

    def open(self, rows: Any) -> "pd.DataFrame":
        """Rows from a path, a DataFrame, a dictionary of columns, a list of dictionaries, or an array.

        Columns are taken by name, in any order; others are not looked at. One that is missing raises VariorumError; a
        warning says which values training did not know, and what is made of them.
        """
        frame = to_answer(self._frame(rows), [column.name for column in self.columns])
        if len(frame):
            say(sentence for column in self.columns for sentence in column.strange(frame[column.name]))
        return frame

    def _frame(self, rows: Any) -> "pd.DataFrame":
        import pandas as pd

        if isinstance(rows, str | Path):
            names = [column.name for column in self.columns if column.as_text]
            frame, notes = opened(rows, "table", as_text=names)
            say(notes)
            return frame
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

        return pd.DataFrame(self.target.said(outputs), index=rows.index)


class TableTask(DividedRows):
    """Predict a column of a table: a class (accuracy) or a value (squared error in units of the training variance).

    source: a file (see :mod:`variorum.data.frames`), or a bundled name.  target: the column to predict; the bundled
    tables know theirs, else it is named ``target``, ``label``, ``class`` or ``y``, or must be given.
    frame: the rows, when they have been read already; ``source`` then only names them.     settled: what is known of
    target and split beforehand; the target is then known in every row.
    memory: bytes of a file up to which its rows are read at once. Those of a larger one are encoded piece by piece into
    a temporary file, from which batches are drawn; the numbers are the same. Only one column must fit in memory at a
    time, but what asks for ``arrays`` (the baselines) takes the encoded training rows, 4 bytes a number.
    The split into train, valid and test (60/20/20, stratified by class or by size of the value) depends on ``seed``
    alone; rows that are alike are in the same part. ``notes`` say what was detected, repaired and left out.
    """

    reads = "table"
    examples = ({"source": "iris"}, {"source": "diabetes"})

    def __init__(
        self, source: str, *, target: str | None = None, seed: int = 0, memory: int = MEMORY, frame: Any = None,
        settled: Settled | None = None,
    ) -> None:  # fmt: skip
        rows, notes = table_rows(source, memory) if frame is None else _in_memory(frame)
        self.source, self.seed = source, seed
        name = _target_name(rows, target if target is not None else usual(source, "table", "target"), source)
        more: tuple[str, ...] = ()
        if settled is None:
            rows, values, more = _known(rows, name)
            self.parts, fitted, said = _divided(rows, values, seed)
        else:
            values, said = rows.column(name), ()
            self.parts, fitted = settled.divide(values, seed)
        train = values.iloc[self.parts.train].reset_index(drop=True)
        self.preprocess, left_out = TableColumns.fit(rows, self.parts.train, fitted, train)
        columns = self.preprocess.build()
        self.target: Target = columns.target
        self.labels: tuple[Any, ...] = columns.target.labels
        self.cardinalities = columns.cardinalities
        self.notes: tuple[str, ...] = (*notes, *more, *said, *left_out)
        encoded, self._folder = encode_rows(rows, columns)
        self._rows = torch.from_numpy(encoded)
        self._targets = torch.from_numpy(columns.target.encode(values))
        self.metric, self.higher_is_better = METRICS[self.writes]

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
        return objective_of(self.writes)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        return self._batch(self.parts.train[draw(len(self.parts.train), step, size, seed)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = self.parts.rows(split)
        return (self._batch(rows[i : i + size]) for i in range(0, len(rows), size))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return scored(self.writes, outputs, targets)

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


def table_rows(source: str | Path, memory: int) -> tuple[Rows, tuple[str, ...]]:
    """The rows of a file or of a bundled table, and notes on them; on disk if they are more than ``memory`` bytes."""
    if find_set(source, "table"):
        frame, notes = opened(source, "table")
        return InMemory(frame), notes
    return open_rows(source, memory=memory)


def _in_memory(frame: "pd.DataFrame") -> tuple[Rows, tuple[str, ...]]:
    frame, notes = to_learn_from(frame)
    return InMemory(frame), notes


def encode_rows(rows: Rows, columns: TableColumns) -> "tuple[np.ndarray, TemporaryDirectory[str] | None]":
    """(rows, columns) float32; of rows on disk it is a file in a folder that is removed with its last user."""
    if isinstance(rows, InMemory):
        return columns.encode(rows.frame), None
    folder = TemporaryDirectory(prefix="variorum-")
    shape = (len(rows), len(columns.cardinalities))
    encoded = np.memmap(Path(folder.name) / "rows.float32", np.float32, mode="w+", shape=shape)
    start = 0
    for piece in rows.pieces(PIECE):
        encoded[start : start + len(piece)] = columns.encode(piece)
        start += len(piece)
    return encoded, folder


def _target_name(rows: Rows, target: str | None, source: str) -> str:
    import pandas as pd

    return find_target(pd.DataFrame(columns=list(rows.names)), target, source)


def _divided(rows: Rows, values: "pd.Series", seed: int) -> tuple[Parts, Spec[Target], tuple[str, ...]]:
    """The split, the target that the values ask for, and what is to be said of both."""
    kind, said = choose_target(values)
    codes = kind.fit(values).build().encode(values) if kind is ClassTarget else None
    parts, together = split_together(
        lambda some: strata_of(values.iloc[some]) if codes is None else codes[some], first_alike(rows), seed
    )
    fitted = kind.fit(values if kind is ClassTarget else values.iloc[parts.train].reset_index(drop=True))
    return parts, fitted, (said, *together)


def _known(rows: Rows, name: str) -> "tuple[Rows, pd.Series, tuple[str, ...]]":
    """The rows whose target is known, their targets, and what is to be said of them."""
    values, said = in_numbers(rows.column(name))
    left, more = known_targets(values.to_frame(), name)
    mask = np.zeros(len(values), bool)
    mask[left.index] = True
    return rows if mask.all() else rows.kept(mask), values[mask].reset_index(drop=True), (*said, *more)
