"""Numbers that took long to decode, kept on disk and mapped into memory: the system reads what is asked for."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

import variorum

MOST_KEPT = 8 << 30
"""Bytes of all that is kept between runs; what was not used for the longest time goes first."""
_TOGETHER = 32
"""Rows that are decoded at a time."""


class Decoded(NamedTuple):
    """Rows of uneven length: ``numbers`` of all of them one after another, and where each stands.

    places: for each row its first number and how many they are; the first is -1 where they were not kept.
    told: what was found out about each row.     plan: what was found out about all, JSON values both.
    """

    numbers: np.ndarray
    places: list[tuple[int, int]]
    told: list[dict[str, Any]]
    plan: dict[str, Any]


Row = tuple[np.ndarray, dict[str, Any]]


def folder() -> Path:
    """Where it is kept: ``$VARIORUM_CACHE``, or ``variorum`` in the user's cache folder."""
    if given := os.environ.get("VARIORUM_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "variorum" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "variorum"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "variorum"


def kept(
    key: str, dtype: type[np.generic], make: Callable[[], tuple[dict[str, Any], Iterator[Row]]], most: int
) -> Decoded:
    """What ``make`` decodes, or what was kept of it under the same key.

    make: the plan, and the rows in order. At most ``most`` bytes of them are kept. Where the folder cannot be written
    to they stand in a temporary file that goes with this process; where there is no room, none is kept.
    """
    place = folder()
    found = _read(place, key, dtype)
    if found is not None:
        return found
    plan, rows = make()
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{key[:16]}.", suffix=".draft", dir=place)
    except OSError:
        with tempfile.TemporaryFile() as file:
            return Decoded(*_write(file, rows, dtype, most), plan)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            numbers, places, told = _write(file, rows, dtype, most)
        text = json.dumps({"plan": plan, "places": places, "told": told})
        Path(f"{name}.json").write_text(text, "utf-8")
        with suppress(OSError):  # a system that does not rename mapped files goes on with the draft
            os.replace(draft, place / f"{key}.numbers")
            os.replace(f"{name}.json", place / f"{key}.json")
            _make_room(place, key)
        return Decoded(numbers, places, told, plan)
    except OSError:  # no room: every row is decoded when it is asked for
        plan, rows = make()
        with tempfile.TemporaryFile() as file:
            return Decoded(*_write(file, rows, dtype, 0), plan)
    finally:
        with suppress(OSError):
            Path(f"{name}.json").unlink(missing_ok=True)
            draft.unlink(missing_ok=True)


def side_by_side(sources: Sequence[Any], decode: Callable[[Any], Row]) -> Iterator[Row]:
    """The decoded sources in order, some at a time on threads, for decoders let others run meanwhile."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for first in range(0, len(sources), _TOGETHER):
            yield from pool.map(decode, sources[first : first + _TOGETHER])


def identity(path: Path) -> list[Any]:
    """What tells that a file is the same as in an earlier run: its place, size and time."""
    stat = path.stat()
    return [str(path.absolute()), stat.st_size, stat.st_mtime_ns]


def key_of(*asked: Any) -> str:
    """The key under which what is decoded for these JSON values is kept, by this version."""
    return hashlib.sha256(json.dumps([variorum.__version__, *asked]).encode()).hexdigest()


def _write(
    file: IO[bytes], rows: Iterator[Row], dtype: type[np.generic], most: int
) -> tuple[np.ndarray, list[tuple[int, int]], list[dict[str, Any]]]:
    places, told, end, size = [], [], 0, np.dtype(dtype).itemsize
    for numbers, said in rows:
        fits = (end + len(numbers)) * size <= most
        places.append((end if fits else -1, len(numbers)))
        told.append(said)
        if fits:
            file.write(np.ascontiguousarray(numbers, dtype).data)
            end += len(numbers)
    file.flush()
    return (np.memmap(file, dtype, "r", shape=(end,)) if end else np.empty(0, dtype)), places, told


def _read(place: Path, key: str, dtype: type[np.generic]) -> Decoded | None:
    """What was kept; None if nothing was, or if it is not whole."""
    index, path = place / f"{key}.json", place / f"{key}.numbers"
    try:
        content = json.loads(index.read_text("utf-8"))
        places = [(int(first), int(count)) for first, count in content["places"]]
        size = sum(count for first, count in places if first >= 0)
        if path.stat().st_size != size * np.dtype(dtype).itemsize or len(content["told"]) != len(places):
            return None
        numbers = np.memmap(path, dtype, "r", shape=(size,)) if size else np.empty(0, dtype)
        os.utime(index)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Decoded(numbers, places, content["told"], content["plan"])


def _make_room(place: Path, key: str) -> None:
    """Remove what was not used for the longest time until the rest is small enough."""
    indices = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for index in indices:
        numbers = index.with_suffix(".numbers")
        total += index.stat().st_size + (numbers.stat().st_size if numbers.exists() else 0)
        if total > MOST_KEPT and index.stem != key:
            index.unlink(missing_ok=True)
            numbers.unlink(missing_ok=True)
