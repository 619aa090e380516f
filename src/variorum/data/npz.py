"""NumPy's archives of named arrays, read without running anything that is in them."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from variorum.core import VariorumError
from variorum.data.decode import whole

LARGEST = 16 << 30
"""Bytes that the arrays of a file may take in memory."""
TIMES, FREE = 100, 1 << 28
"""Times its size that a compressed file may unpack to, and bytes that any may: more is a trap, or nothing but zeros."""
BROKEN = (OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, MemoryError, OverflowError,
          TypeError, SyntaxError, AttributeError, IndexError, zipfile.BadZipFile, zlib.error,
          tokenize.TokenError)  # fmt: skip
"""What numpy and zipfile raise when they meet bytes that are not what they say."""
NUMBERS = "biuf"


def names_in(path: Path) -> frozenset[str]:
    """The names of the arrays; none if the file is no archive."""
    try:
        with zipfile.ZipFile(path) as file:
            return frozenset(name.removesuffix(".npy") for name in file.namelist())
    except BROKEN:
        return frozenset()


def read_npz(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the wanted arrays that are there. Objects, which only unpickling could make, raise VariorumError."""
    try:
        with zipfile.ZipFile(path) as file:
            inside = {info.filename.removesuffix(".npy"): info.file_size for info in file.infolist()}
        size = sum(inside[name] for name in wanted if name in inside)
        if size > LARGEST or size > max(TIMES * path.stat().st_size, FREE):
            raise VariorumError(str(path), found=f"{size:,} bytes", do="Save it in parts.",
                                expected=f"at most {LARGEST >> 30} GB, and {TIMES} times the file")  # fmt: skip
        with np.load(path) as file:
            found = {name: np.asarray(file[name]) for name in wanted if name in inside}
    except VariorumError:
        raise
    except BROKEN as error:
        objects = "Object arrays" in str(error)
        raise VariorumError(
            f"{path}",
            expected="an archive of plain arrays, as numpy.savez writes it",
            found="an array of Python objects, which could run code when read"
            if objects
            else f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else 'broken bytes'}",
            do="Save uneven rows one after another in one array, with an array of their lengths beside it."
            if objects
            else "Write it again with numpy.savez; it may have been cut off.",
        ) from None
    return found


def numeric(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """The array as float64; VariorumError if it holds no numbers."""
    if array.dtype.kind not in NUMBERS:
        raise VariorumError(f"{path} {name}", expected="an array of numbers", found=f"dtype {array.dtype}",
                            do="Convert it with astype(float).")  # fmt: skip
    with np.errstate(all="ignore"):
        return array.astype(np.float64)


def real(values: Any) -> np.ndarray:
    """Whatever numpy takes for numbers as float64; ValueError or TypeError for others, complex ones among them."""
    found = np.asarray(values)
    if found.dtype.kind == "c":
        raise ValueError("complex numbers")
    return found.astype(np.float64)


def rows_of(path: Path, name: str, array: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """An array whose first axis holds row after row, cut at these lengths; VariorumError if they do not fit."""
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (len(lengths) and int(lengths.min()) < 0):
        raise VariorumError(f"{path} lengths", expected="one whole number, at least 0, for each row",
                            found=f"dtype {lengths.dtype}, shape {lengths.shape}",
                            do="Save them as a one-dimensional array of integers.")  # fmt: skip
    total = sum(lengths.tolist())  # of Python's integers, which do not wrap round
    if total != len(array):
        raise VariorumError(f"{path} lengths", expected=f"a sum of {len(array)}, the first size of {name}",
                            found=f"{total}", do="Give the length of every row, in order.")  # fmt: skip
    return np.split(array, np.cumsum(lengths)[:-1]) if len(lengths) else []


def labels_of(path: Path, name: str, array: np.ndarray, rows: int) -> np.ndarray:
    """The answers, one a row: numbers, or words (None where they are missing); VariorumError if they do not fit."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (rows,):
        raise VariorumError(f"{path} {name}", expected=f"one answer for each of {rows} rows",
                            found=f"shape {array.shape}", do="Save a one-dimensional array.")  # fmt: skip
    if array.dtype.kind not in NUMBERS + "US":
        raise VariorumError(f"{path} {name}", expected="numbers or words", found=f"dtype {array.dtype}",
                            do="Convert it with astype(str).")  # fmt: skip
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return array


def known(labels: np.ndarray) -> list[Any]:
    """Labels as Python's own values, None for one that is missing: no finite number, or blank."""
    if labels.dtype.kind == "f":
        return [value if math.isfinite(value) else None for value in labels.tolist()]
    told = [whole(value) if isinstance(value, str) else value for value in labels.tolist()]
    return [None if isinstance(value, str) and not value.strip() else value for value in told]
