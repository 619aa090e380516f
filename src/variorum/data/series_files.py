"""Files of whole time series with an answer each: .ts of the archives of time series, and NumPy's .npz."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from variorum.core import VariorumError
from variorum.data.decode import decode
from variorum.data.npz import known, labels_of, names_in, numeric, read_npz, rows_of

SUFFIXES = frozenset({".ts", ".npz"})
LOOKED_AT = 1 << 16
"""Bytes of a .ts file that are read to see whether it holds series: the suffix has other uses."""
ARRAYS = frozenset({"X", "y", "values", "lengths", "X_train", "y_train", "X_test", "y_test"})
HEADER = re.compile(rb"^\s*@(problemname|timestamps|univariate|classlabel|targetlabel|data)\b", re.I | re.M)
SHAPES = "X (rows, channels, time) or (rows, time), or values (steps, channels) with lengths (rows,)"


@dataclass
class SeriesFile:
    """Series as they stand in a file: rows (n, channels) float64, NaN where a value is missing.

    labels: one a row, None where there is none.    classes: are they said to be classes?    test_from: the first row
    of a published test part.
    """

    rows: list[np.ndarray]
    labels: list[Any]
    classes: bool = False
    test_from: int | None = None
    notes: list[str] = field(default_factory=list)


def holds_series(path: Path) -> bool:
    """Does a file say of itself that it holds series?"""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".npz":
        names = names_in(path)
        return bool({"X", "X_train"} & names) or {"values", "lengths"} <= names
    if path.suffix.lower() != ".ts":
        return False
    with path.open("rb") as file:
        return HEADER.search(file.read(LOOKED_AT)) is not None


def parts_of(path: Path) -> tuple[Path, Path | None]:
    """The file to learn from, NAME_TRAIN.ts of a folder, and that of the published test part, NAME_TEST.ts."""
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if re.search(r"_TRAIN\.ts$", f.name, re.I))
        if len(found) != 1:
            raise VariorumError(str(path), expected="one file NAME_TRAIN.ts",
                                found=", ".join(f.name for f in found[:6]) or "none",
                                do="Name the file.")  # fmt: skip
        path = found[0]
    for mine, other in (("TRAIN", "TEST"), ("TEST", "TRAIN")):
        if not path.stem.upper().endswith(f"_{mine}"):
            continue
        wanted = path.name[: -len(mine) - len(path.suffix)].lower() + f"{other}{path.suffix}".lower()
        beside = next((f for f in path.parent.iterdir() if f.name.lower() == wanted and f.is_file()), None)
        if beside is not None:
            return (path, beside) if mine == "TRAIN" else (beside, path)
    return path, None


def read_series(path: Path) -> SeriesFile:
    """All that a file, and the other part beside it, holds; :class:`VariorumError` for what cannot be read."""
    first, test = parts_of(path)
    found = _read(first)
    if test is None:
        return found
    more = _read(test)
    widths = {row.shape[1] for row in (*found.rows, *more.rows)}
    if len(widths) > 1:
        raise VariorumError(str(test), expected=f"as many channels as {first.name} has", found=f"{sorted(widths)}",
                            do="Give both parts of one problem.")  # fmt: skip
    same = set(_keys(found)) & set(_keys(more))
    notes = [*found.notes, *(note for note in more.notes if note not in found.notes),
             f"The published split is kept: {len(found.rows)} series to learn from in {first.name}, "
             f"{len(more.rows)} to test on in {test.name}."]  # fmt: skip
    if same:
        notes.append(f"{len(same)} series of the test part stand in the training part too.")
    return SeriesFile([*found.rows, *more.rows], [*found.labels, *more.labels], found.classes, len(found.rows), notes)


def _keys(found: SeriesFile) -> list[bytes]:
    return [row.tobytes() for row in found.rows]


def _read(path: Path) -> SeriesFile:
    if path.suffix.lower() == ".npz":
        return read_arrays(path)
    if path.suffix.lower() != ".ts":
        raise VariorumError(str(path), expected="a file of series (.ts or .npz)",
                            found=f"a file {path.suffix or 'without suffix'}", do="Convert it.")  # fmt: skip
    try:
        text, notes = decode(path.read_bytes(), str(path))
    except OSError as error:
        raise VariorumError(str(path), expected="a file of series", found=str(error), do="Check the path.") from None
    found = parse_ts(text, str(path))
    found.notes += notes
    return found


# -- .ts ---------------------------------------------------------------------------------------------------------------
def parse_ts(text: str, subject: str) -> SeriesFile:
    """A .ts file: ``#`` comments, ``@key value`` lines, then ``@data`` and a line for each series: its channels joined
    by ``:``, values by ``,``, a missing one ``?``; the answer last, if ``@classLabel`` or ``@targetLabel`` says true.
    """
    said: dict[str, list[str]] = {}
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        line = line.strip()
        if line.lower() == "@data":
            break
        if line.startswith("@"):
            words = line[1:].split()
            said[words[0].lower() if words else ""] = words[1:]
        elif line and not line.startswith("#"):
            raise VariorumError(f"{subject}, line {number}", expected="a comment, or a line that starts with @",
                                found=repr(line[:40]), do="Put @data before the first series.")  # fmt: skip
    else:
        raise VariorumError(subject, expected="a line @data, and series after it", found="none",
                            do="The file may have been cut off: fetch it again.")  # fmt: skip
    if _true(said, "timestamps"):
        raise VariorumError(subject, expected="series without time stamps (@timeStamps false)", found="true",
                            do="Give the values at equal steps.")  # fmt: skip
    answered = next((key for key in ("classlabel", "targetlabel") if _true(said, key)), None)
    found = SeriesFile([], [], classes=answered == "classlabel")
    filled, width = 0, _width(said, subject)
    for number, line in lines:
        if (line := line.strip()) and not line.startswith("#"):
            channels: list[str] = line.split(":")
            label = channels.pop() if answered else None
            row, ragged = _row(channels, f"{subject}, line {number}")
            width = width or row.shape[1]
            if row.shape[1] != width:
                wanted = f"{width} channels{' and an answer' * bool(answered)}"
                raise VariorumError(f"{subject}, line {number}", expected=wanted, found=f"{row.shape[1]}",
                                    do="The line may have been cut off: fetch the file again.")  # fmt: skip
            filled += ragged
            found.rows.append(row)
            found.labels.append(_label(label, answered, f"{subject}, line {number}"))
    if filled:
        found.notes.append(
            f"Channels of different lengths in {filled} series: the shorter ones go on with missing values."
        )
    if not found.rows:
        raise VariorumError(subject, expected="series after @data", found="none", do="The file may have been cut off.")
    return found


def _true(said: dict[str, list[str]], key: str) -> bool:
    return said.get(key, ["false"])[:1] == ["true"] or [w.lower() for w in said.get(key, [])][:1] == ["true"]


def _width(said: dict[str, list[str]], subject: str) -> int | None:
    """The channels that a file says it has."""
    if _true(said, "univariate"):
        return 1
    words = said.get("dimensions") or said.get("dimension") or []
    if words and not (words[0].isascii() and words[0].isdigit() and int(words[0][:9]) > 0):
        raise VariorumError(f"{subject} @dimensions", expected="a whole number above 0", found=repr(words[0][:20]),
                            do="Correct the line, or leave it out.")  # fmt: skip
    return int(words[0][:9]) if words else None


def _row(channels: list[str], where: str) -> tuple[np.ndarray, bool]:
    """(n, channels) of the texts of the channels; and whether they were of different lengths."""
    values = [_values(text, where) for text in channels]
    if not values:
        raise VariorumError(where, expected="values, then a colon and an answer", found="an answer alone",
                            do="The line may have been cut off: fetch the file again.")  # fmt: skip
    lengths = {len(v) for v in values}
    row = np.full((max(lengths), len(values)), math.nan)
    for c, channel in enumerate(values):
        row[: len(channel), c] = channel
    return row, len(lengths) > 1


def _values(text: str, where: str) -> np.ndarray:
    words = text.split(",") if text.strip() else []
    try:
        return np.array([math.nan if w.strip() in ("?", "") else float(w) for w in words], dtype=np.float64)
    except ValueError as error:
        raise VariorumError(where, expected="numbers between commas, ? where one is missing", found=str(error)[:80],
                            do="Correct or remove the line.") from None  # fmt: skip


def _label(text: str | None, answered: str | None, where: str) -> Any:
    word = (text or "").strip()
    if word.lower() in ("", "?", "nan"):
        return None
    if answered != "targetlabel":
        return word
    try:
        value = float(word)
    except ValueError:
        raise VariorumError(where, expected="a number as the answer", found=repr(word[:40]),
                            do="Say @classLabel true if answers are words.") from None  # fmt: skip
    return value if math.isfinite(value) else None


# -- .npz --------------------------------------------------------------------------------------------------------------
def read_arrays(path: Path) -> SeriesFile:
    """``X`` and ``y``, or ``values``, ``lengths`` and ``y``; or both parts of a published split: ``X_train``, ..."""
    arrays = read_npz(path, ARRAYS)
    if {"X_train", "X_test"} <= arrays.keys():
        both = [_part(path, arrays, f"X_{part}", f"y_{part}") for part in ("train", "test")]
        (first, notes), (more, _) = both
        if first[0].shape[1] != more[0].shape[1]:
            raise VariorumError(f"{path} X_test", expected=f"{first[0].shape[1]} channels, as X_train has",
                                found=str(more[0].shape[1]), do="Give both parts of one problem.")  # fmt: skip
        labels = [*_labels(path, arrays, "y_train", len(first)), *_labels(path, arrays, "y_test", len(more))]
        note = f"The published split is kept: {len(first)} series to learn from, {len(more)} to test on."
        return SeriesFile([*first, *more], labels, False, len(first), [*notes, note])
    if "X" in arrays or {"values", "lengths"} <= arrays.keys():
        rows, notes = _part(path, arrays, "X", "y")
        return SeriesFile(rows, _labels(path, arrays, "y", len(rows)), notes=notes)
    raise VariorumError(str(path), expected=f"arrays {SHAPES}, and y (rows,)",
                        found=", ".join(sorted(names_in(path))[:12]) or "none", do="Name them so.")  # fmt: skip


def _part(path: Path, arrays: dict[str, np.ndarray], name: str, _: str) -> tuple[list[np.ndarray], list[str]]:
    """Rows (n, channels), and notes."""
    if name not in arrays:
        values = numeric(path, "values", arrays["values"])
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or not values.shape[1]:
            raise VariorumError(f"{path} values", expected="shape (steps, channels)", found=str(values.shape),
                                do="Put the steps of all rows one after another.")  # fmt: skip
        rows = rows_of(path, "values", values, arrays["lengths"])
        return _some(path, rows), []
    values, notes = numeric(path, name, arrays[name]), []
    if values.ndim == 2:
        values = values[:, None]
    elif values.ndim == 3 and values.shape[2] == 1 < values.shape[1]:
        values = values.transpose(0, 2, 1)
        notes.append(f"{name} is of shape (rows, time, 1): read as one channel.")
    if values.ndim != 3 or 0 in values.shape:
        raise VariorumError(f"{path} {name}", expected=SHAPES, found=f"shape {arrays[name].shape}", do="Reshape it.")
    return list(values.transpose(0, 2, 1)), notes


def _some(path: Path, rows: list[np.ndarray]) -> list[np.ndarray]:
    if not rows:
        raise VariorumError(str(path), expected="series", found="none", do="Give a file with rows.")
    return rows


def _labels(path: Path, arrays: dict[str, np.ndarray], name: str, rows: int) -> list[Any]:
    if name not in arrays:
        return [None] * rows
    found = labels_of(path, name, arrays[name], rows)
    return known(found)
