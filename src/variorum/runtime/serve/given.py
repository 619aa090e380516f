"""What a client sends, as rows that a preprocess has opened: JSON values and files in memory, never a path."""

import base64
import binascii
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from variorum.core import VariorumError
from variorum.data.decode import whole
from variorum.data.forecast_rows import ForecastRows
from variorum.data.frames import DELIMITED
from variorum.data.images import ImagePixels
from variorum.data.labelled_series import SeriesRows
from variorum.data.labelled_texts import TextTokens
from variorum.data.point_clouds import CloudPoints
from variorum.data.preprocess import Preprocess
from variorum.data.recordings import Recording, read_sound
from variorum.data.sounds import SHORTEST, SoundSamples
from variorum.data.symbols import TextSymbols
from variorum.data.table import TableColumns
from variorum.data.text_pairs import PairTokens
from variorum.data.text_pieces import TextPieces
from variorum.runtime.serve.cells import LINES, SERIES, check_file, check_rows
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.pictures import PICTURES, pictures
from variorum.runtime.serve.refusal import Refusal
from variorum.runtime.serve.upload import PREFIX, File, unplaced

TABLES = tuple(DELIMITED)
"""Suffixes of tables that are taken; packed formats, which may grow without bounds when opened, are not."""
DEEPEST = 3
LONGEST_FILTER = 20_000
"""How large the smaller terms of two rates may make their ratio: the filter between them is as many times longer."""


class Reader(NamedTuple):
    """How rows of a kind are given. says: for a client, the form of a row in JSON, and the files that are taken."""

    rows: Callable[[list[Any], Limits], Any]
    files: Callable[[Sequence[File], Limits], Any]
    says: tuple[str, str]


@singledispatch
def reader(preprocess: Preprocess) -> Reader:
    """The reader for a preprocess; a kind that is not served is a :class:`Refusal`."""
    raise Refusal(415, "unserved_kind", f"Rows of kind {preprocess.reads!r} cannot be sent to this server.")


@reader.register(TableColumns)
@reader.register(ForecastRows)
def _of_tables(preprocess: TableColumns | ForecastRows) -> Reader:
    return Reader(
        lambda rows, limits: preprocess.open(_frame(rows, limits)),
        lambda files, limits: _one_file(files, TABLES, preprocess.open, limits),
        ("an object: column -> text, number, true, false or null", "one .csv or .tsv file"),
    )


@reader.register(TextTokens)
@reader.register(PairTokens)
@reader.register(TextPieces)
def _of_texts(preprocess: TextTokens | PairTokens | TextPieces) -> Reader:
    return Reader(
        lambda rows, limits: preprocess.open(_texts(rows)),
        lambda files, limits: _one_file(files, (*TABLES, *LINES), preprocess.open, limits),
        ("a text", "one .csv or .tsv file with a column of texts, or a .txt file with a text on each line"),
    )


@reader.register
def _of_symbols(preprocess: TextSymbols) -> Reader:
    return Reader(
        lambda rows, limits: preprocess.open(_texts(rows)),
        lambda files, limits: _one_file(files, LINES, preprocess.open, limits),
        ("a text", "one .txt file, which is one text"),
    )


@reader.register
def _of_images(preprocess: ImagePixels) -> Reader:
    size = (preprocess.height, preprocess.width, len(preprocess.mean))

    def given(rows: list[Any], limits: Limits) -> Any:
        names = {i: f"row {i}" for i in range(len(rows))}
        sent = {i: File(names[i], _decoded(row, names[i])) for i, row in enumerate(rows) if isinstance(row, str)}
        seen = dict(zip(sent, pictures([*sent.values()], limits, size), strict=True))
        return preprocess.open(
            [seen[i] if i in seen else _numbers(row, names[i], holes=False) for i, row in enumerate(rows)]
        )

    return Reader(
        given,
        lambda files, limits: preprocess.open(pictures(files, limits, size)),
        ("an image file in base64, or numbers [height][width] or [height][width][3], 0 to 255 or 0.0 to 1.0",
         f"image files: {', '.join(PICTURES)}"),
    )  # fmt: skip


@reader.register
def _of_sounds(preprocess: SoundSamples) -> Reader:
    def one(row: Any, number: int) -> Any:
        name = f"row {number}"
        if isinstance(row, str):
            return _sound(File(name, _decoded(row, name)), preprocess)
        if isinstance(row, dict) and set(row) == {"samples", "rate"} and type(row["rate"]) is int:
            _check_rate(row["rate"], preprocess.rate, name)
            return _numbers(row["samples"], name, holes=False), row["rate"]
        raise _wrong(name, "a sound file in base64, or an object of samples and their rate", row)

    return Reader(
        lambda rows, limits: preprocess.open([one(row, i) for i, row in enumerate(rows)]),
        lambda files, limits: preprocess.open([_sound(file, preprocess) for file in files]),
        ("a sound file in base64, or {samples: [...], rate: samples a second}", "sound files: WAV, FLAC, OGG, MP3"),
    )


@reader.register
def _of_series(preprocess: SeriesRows) -> Reader:
    return Reader(
        lambda rows, limits: preprocess.open([_numbers(row, f"row {i}", holes=True) for i, row in enumerate(rows)]),
        lambda files, limits: _one_file(files, SERIES, preprocess.open, limits),
        ("numbers [time], or [channel][time]; null where one is missing", "one .ts file"),
    )


@reader.register
def _of_clouds(preprocess: CloudPoints) -> Reader:
    def no_files(files: Sequence[File], limits: Limits) -> Any:
        raise Refusal(415, "unserved_file", "Clouds of points are sent as JSON: rows of [x, y, z].")

    return Reader(
        lambda rows, limits: preprocess.open([_numbers(row, f"row {i}", holes=False) for i, row in enumerate(rows)]),
        no_files,
        ("points [n][3]", "no files"),
    )


def _frame(rows: list[Any], limits: Limits) -> Any:
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _wrong(f"row {number}", "an object: column -> value", row)
        for column, value in row.items():
            if isinstance(value, list | dict):
                raise _wrong(f"row {number}, column {column[:60]!r}", "a text, a number, true, false or null", value)
            if isinstance(value, int) and abs(value) >= 1 << 63:
                raise _wrong(f"row {number}, column {column[:60]!r}", "a number below 2^63", value)
    check_rows(rows, limits)
    words = [
        {whole(key): whole(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows
    ]
    if words != rows:  # pandas takes no half of a character
        warnings.warn("Half characters (lone surrogates) in the rows stand as '\ufffd'.", stacklevel=2)
    return pd.DataFrame(words)


def _texts(rows: list[Any]) -> list[str]:
    for number, row in enumerate(rows):
        if not isinstance(row, str):
            raise _wrong(f"row {number}", "a text", row)
    return rows


def _numbers(row: Any, name: str, *, holes: bool) -> np.ndarray:
    """Nested lists of numbers as an array, NaN where ``holes`` are allowed and there is one."""
    _check_numbers(row, name, holes=holes, depth=DEEPEST)
    try:
        found = np.array(row)
        return found.astype(np.float64) if found.dtype.kind == "O" else found
    except (ValueError, OverflowError):
        raise VariorumError(name, expected="lists of equal length, of numbers of usual size", found="others",
                            do="Send rows of one length.") from None  # fmt: skip


def _check_numbers(row: Any, name: str, *, holes: bool, depth: int) -> None:
    if not isinstance(row, list) or not row or not depth:
        raise _wrong(name, f"a list of numbers, or such lists, at most {DEEPEST} deep and none empty", row)
    if all(isinstance(value, list) for value in row):
        for value in row:
            _check_numbers(value, name, holes=holes, depth=depth - 1)
        return
    for value in row:
        if not (type(value) in (int, float) or (holes and value is None)):
            raise _wrong(name, "numbers" + " or null" * holes, value)


def _decoded(text: str, name: str) -> bytes:
    """Base64, with or without ``data:...;base64,`` before it."""
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise VariorumError(name, expected="a file in base64", found=repr(text[:40]), do="Encode it.") from None


def _sound(file: File, preprocess: SoundSamples) -> Recording:
    """The middle of a sound; it is decoded from a file of ours, for decoders want one to seek in."""
    with tempfile.NamedTemporaryFile(prefix="variorum-sound-") as kept:
        kept.write(file.content)
        kept.flush()
        try:
            found = read_sound(kept.name, longest=preprocess.longest + SHORTEST)
        except VariorumError as error:
            raise VariorumError(file.name[:80], expected=error.expected, found=error.found,
                                do="Send another file.") from None  # fmt: skip
    _check_rate(found.rate, preprocess.rate, file.name[:80])
    return found


def _check_rate(rate: int, wanted: int, name: str) -> None:
    """Rates whose ratio has no small terms ask for a filter of millions of numbers."""
    if max(rate, wanted) > LONGEST_FILTER * math.gcd(rate, wanted):
        raise VariorumError(f"{name}, rate", expected=f"one whose ratio to {wanted:,} has smaller terms",
                            found=f"{rate:,}", do="Send it at a usual rate, such as 44,100.")  # fmt: skip


def _one_file(files: Sequence[File], suffixes: tuple[str, ...], opened: Callable[[Path], Any], limits: Limits) -> Any:
    """The rows of the one file that is allowed; it gets a name of ours, of which only the suffix is the client's."""
    suffix = Path(files[0].name).suffix.lower()
    if len(files) != 1 or suffix not in suffixes:
        raise Refusal(415, "unserved_file", f"One file is expected: {', '.join(suffixes)}.")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(files[0].content)
        try:
            check_file(files[0].content, path.name, suffix, limits)
            return opened(path)
        except VariorumError as error:
            raise VariorumError(unplaced(error.subject), expected=error.expected, found=unplaced(error.found),
                                do=error.do) from None  # fmt: skip


def _wrong(name: str, expected: str, value: Any) -> VariorumError:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    found = kinds.get(type(value), "a number")
    return VariorumError(name, expected=expected, found=found, do="The bundle's page tells the form of its rows.")
