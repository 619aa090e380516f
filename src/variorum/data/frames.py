"""Reading a table from a file. What was repaired on the way is said; what would lose data is an error."""

import json
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from variorum.core import VariorumError
from variorum.data.decode import HALVES, REPLACED, Repairs, decode, decoded
from variorum.data.delimited import SEPARATORS, Delimited, check_names, text_of, with_points
from variorum.data.rows import PIECE, InMemory, OnDisk, Rows, as_frame, spilled

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow.dataset import Dataset

DELIMITED = {".csv": ",", ".tsv": "\t"}
"""Suffixes of text files of separated fields, and the usual separator of each."""
ARROW, LINES = frozenset({".parquet", ".arrow", ".feather"}), frozenset({".jsonl", ".ndjson"})
TABLES = frozenset({*DELIMITED, *ARROW, *LINES})
MEMORY = 1 << 30
"""Bytes of a table that are read into memory at once; a larger one is read in pieces."""
LONGEST_LINE = 1 << 20
"""Characters of a header that are looked at."""


def read_table(path: str | Path, *, as_text: Sequence[str] = ()) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """The rows of a file of one of :data:`TABLES`, and a sentence for each repair that was made.

    as_text: columns of a text file that are left as they are written. Raises :class:`VariorumError` for an empty or
    unreadable file, rows longer than the header, and repeated names.
    """
    path = Path(path)
    check_file(path)
    suffix, notes = path.suffix.lower(), list[str]()
    if suffix in ARROW:
        frame = _read(_arrow(path), path)
    else:
        text, notes = decode(path.read_bytes(), path.name)
        if suffix in LINES:
            frame = _lines(text, path.name, notes)
        else:
            found = Delimited.of(text_of(text), path.name, DELIMITED.get(suffix, ","))
            notes += found.notes
            frame = with_points(lambda names: InMemory(found.frame(names)), as_text, notes).frame
    check_names([str(name) for name in frame.columns], f"{path.name} header")
    if not len(frame):
        raise VariorumError(path.name, expected="rows under the header", found="none", do="Give a file that has rows.")
    return frame, tuple(notes)


def open_rows(path: str | Path, *, memory: int = MEMORY) -> tuple[Rows, tuple[str, ...]]:
    """The rows of a file as :func:`read_table` reads them; on disk if they have more than ``memory`` bytes.

    JSON lines are always read into memory.
    """
    path = Path(path)
    check_file(path)
    suffix = path.suffix.lower()
    size = _bytes(path) if suffix in ARROW else path.stat().st_size
    if size <= memory or suffix in LINES:
        frame, notes = read_table(path)
        return InMemory(frame), notes
    said = [f"{size:,} bytes, more than the {memory:,} that are read into memory at once: read in pieces from disk."]
    rows: Rows
    if suffix in ARROW:
        rows = OnDisk(_arrow(path))
    else:
        with TemporaryDirectory(prefix="variorum-") as folder, path.open("rb") as raw:
            plain, repairs = Path(folder) / "text", Repairs()
            with plain.open("w", encoding="utf-8", newline="") as text:
                text.writelines(decoded(raw, path.name, repairs))
            found = Delimited.of(
                lambda: plain.open(encoding="utf-8", newline=""), path.name, DELIMITED.get(suffix, ",")
            )
            said += [*repairs.say(), *found.notes]
            pieces = partial(found.pieces, PIECE)
            rows = with_points(lambda names: spilled(pieces, names), (), said)
    check_names(rows.names, f"{path.name} header")
    if not len(rows):
        raise VariorumError(path.name, expected="rows under the header", found="none", do="Give a file that has rows.")
    return rows, tuple(said)


def check_file(path: Path) -> None:
    """Raise :class:`VariorumError` for what is no file that can be read."""
    try:
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        found = "a folder" if path.is_dir() else getattr(error, "strerror", None) or str(error)
        found = "no file of this name" if isinstance(error, FileNotFoundError) else found
        raise VariorumError(str(path), expected=f"a file that can be read ({', '.join(sorted(TABLES))})", found=found,
                            do="Check the path and its permissions.") from None  # fmt: skip


def separator_of(header: str, path: Path) -> tuple[str, str]:
    """What separates the fields of a file whose first line this is, and what would be usual for its name."""
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    found = usual in header or not any(s in header for s in SEPARATORS)
    return usual if found else max(SEPARATORS, key=header.count), usual


def first_rows(path: Path, rows: int) -> "pd.DataFrame | None":
    """The first rows of a table for a look at them, whatever follows; None if they cannot be read.

    Nothing is checked or said here: :func:`read_table` does that for those who go on to read the file.
    """
    import pandas as pd

    try:
        if path.suffix.lower() in ARROW:
            frame = as_frame(_arrow(path).head(rows))
        elif path.suffix.lower() in LINES:
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                frame = pd.DataFrame([json.loads(line) for line in islice(filter(str.strip, file), rows)])
        else:
            with path.open("rb") as file:
                wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
            encoding = "utf-16" if wide else "utf-8-sig"
            with path.open(encoding=encoding, errors="replace", newline="") as file:
                header = next((line for line in iter(lambda: file.readline(LONGEST_LINE), "") if line.strip()), "")
            with warnings.catch_warnings():
                # Rows longer than the header: whoever goes on to read the file is told their line.
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    path, sep=separator_of(header, path)[0], index_col=False, skipinitialspace=True, low_memory=False,
                    nrows=rows, encoding=encoding, encoding_errors="replace", on_bad_lines="skip",
                )  # fmt: skip
    except (VariorumError, OSError, ValueError, OverflowError):
        return None
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame if frame.columns.is_unique else None


def _arrow(path: Path) -> "Dataset":
    """A Parquet file, or an Arrow one (Feather is one) of either form, file or stream; nothing but its head is read."""
    import pyarrow as pa
    from pyarrow import dataset, ipc, parquet

    try:
        if path.suffix.lower() == ".parquet":
            check_names([name.strip() for name in parquet.read_schema(path).names], f"{path.name} header")
            return dataset.dataset(path, format="parquet")
        with path.open("rb") as file:
            whole = file.read(6) == b"ARROW1"
        opened = (ipc.open_file if whole else ipc.open_stream)(pa.memory_map(str(path)))
        check_names([name.strip() for name in opened.schema.names], f"{path.name} header")
        return dataset.dataset(path, format="ipc") if whole else dataset.dataset(opened.read_all())
    except _arrow_errors() as error:
        raise _unreadable(path, error) from None


def _read(data: "Dataset", path: Path) -> "pd.DataFrame":
    try:
        return as_frame(data.to_table())
    except _arrow_errors() as error:
        raise _unreadable(path, error) from None


def _arrow_errors() -> tuple[type[Exception], ...]:
    """What Arrow raises when it meets broken bytes."""
    import pyarrow as pa

    return (OSError, ValueError, NotImplementedError, OverflowError, pa.ArrowException)


def _unreadable(path: Path, error: Exception) -> VariorumError:
    kind = "a parquet file" if path.suffix.lower() == ".parquet" else "an Arrow (Feather) file"
    found = (str(error).strip() or type(error).__name__).splitlines()[0]
    return VariorumError(path.name, expected=kind, found=found, do="Write it again, or give a .csv file.")


def _bytes(path: Path) -> int:
    """How many bytes the columns have when they are unpacked."""
    if path.suffix.lower() != ".parquet":
        return path.stat().st_size
    from pyarrow import parquet

    try:
        head = parquet.read_metadata(path)
    except _arrow_errors() as error:
        raise _unreadable(path, error) from None
    return sum(head.row_group(i).total_byte_size for i in range(head.num_row_groups))


def _lines(text: str, subject: str, notes: list[str]) -> "pd.DataFrame":
    """One JSON object a line. Lines that are none, or say a name twice, raise VariorumError."""
    import pandas as pd

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_names([name.strip() for name, _ in pairs], f"{subject} line {number}")
        return {name.strip(): value for name, value in pairs}

    rows, halves = [], 0
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=unique)
                if "\\ud" in line.lower() and HALVES.search(said := json.dumps(row, ensure_ascii=False)):
                    row, halves = json.loads(HALVES.sub(REPLACED, said), object_pairs_hook=unique), halves + 1
                rows.append(row)
            except (ValueError, RecursionError) as error:
                raise VariorumError(f"{subject} line {number}", expected="a JSON object", found=str(error),
                                    do="Write one object a line.") from None  # fmt: skip
            if not isinstance(rows[-1], dict):
                raise VariorumError(f"{subject} line {number}", expected="a JSON object", found=type(rows[-1]).__name__,
                                    do="Write one object a line.")  # fmt: skip
    if halves:
        notes.append(f"{halves} lines hold half characters (lone surrogates), which stand as {REPLACED!r}.")
    return pd.DataFrame(rows)
