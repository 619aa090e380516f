"""Reading a table from a file. What was repaired on the way is said; what would lose data is an error."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from variorum.core import VariorumError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t|"


def read_table(path: str | Path) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """The rows of a .csv, .tsv or .parquet file, and a sentence for each repair that was made.

    Raises :class:`VariorumError` for an empty or unreadable file, rows longer than the header, and repeated names.
    """
    import pandas as pd

    path, notes = Path(path), list[str]()
    if path.suffix.lower() == ".parquet":
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise VariorumError(path.name, expected="a parquet file", found=str(error).splitlines()[0],
                                do="Write it again, or give a .csv file.") from None  # fmt: skip
    else:
        text, repaired = decode(path.read_bytes(), path.name)
        separator, more = _check_fields(text, path)
        notes += [*repaired, *more]
        try:
            frame = pd.read_csv(
                io.StringIO(text), sep=separator, index_col=False, skipinitialspace=True, low_memory=False
            )
        except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
            raise VariorumError(path.name, expected="a table", found=str(error).strip().splitlines()[0],
                                do="Mend the file, or write it again as .parquet.") from None  # fmt: skip
    frame.columns = [str(name).strip() for name in frame.columns]
    _check_names(list(frame.columns), path.name)
    if not len(frame):
        raise VariorumError(path.name, expected="rows under the header", found="none", do="Give a file that has rows.")
    return frame, tuple(notes)


def decode(raw: bytes, subject: str) -> tuple[str, list[str]]:
    """Text of bytes in UTF-8, else in Windows-1252, which is then said. Empty or binary bytes raise VariorumError."""
    if not raw.strip():
        raise VariorumError(subject, expected="a file with content", found="an empty file", do="Give another file.")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace"), ["Read as UTF-16."]
    if b"\0" in raw:
        raise VariorumError(subject, expected="text", found="binary content (zero bytes)",
                            do="Give a text file in UTF-8, or a .parquet file.")  # fmt: skip
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return raw.decode("cp1252", errors="replace"), [f"Line {line} is not UTF-8: read as Windows-1252."]


def _check_fields(text: str, path: Path) -> tuple[str, list[str]]:
    """The separator, and notes on short rows; long rows and a header that is data raise VariorumError."""
    first = text.lstrip("\r\n").split("\n", 1)[0]
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    separator = (
        usual if usual in first else max(SEPARATORS, key=first.count) if any(s in first for s in SEPARATORS) else usual
    )
    notes = [] if separator == usual else [f"Fields are separated by {separator!r} rather than {usual!r}."]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    header: list[str] = []
    short = []
    try:
        for fields in reader:
            if not fields:
                continue
            if not header:
                header = fields
                _check_header(header, path.name)
            elif len(fields) > len(header):
                raise VariorumError(
                    f"{path.name} line {reader.line_num}",
                    expected=f"{len(header)} fields, as in the header",
                    found=f"{len(fields)}",
                    do="Quote fields that hold the separator, or mend the line.",
                )
            elif len(fields) < len(header):
                short.append(reader.line_num)
    except csv.Error as error:
        raise VariorumError(f"{path.name} line {reader.line_num}", expected="fields of a table", found=str(error),
                            do="Mend the line.") from None  # fmt: skip
    if short:
        notes.append(
            f"{len(short)} rows have fewer fields than the header (first: line {short[0]}): the rest is missing."
        )
    return separator, notes


def _check_header(names: list[str], subject: str) -> None:
    _check_names([name.strip() for name in names], subject)
    plain = [name.strip() for name in names]
    if all(_number(name) for name in plain) and plain != [str(i) for i in range(len(plain))]:
        raise VariorumError(f"{subject} line 1", expected="names of columns", found=f"numbers: {', '.join(plain[:4])}",
                            do="Put a header with one name for each column on the first line.")  # fmt: skip


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_names(names: list[str], subject: str) -> None:
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise VariorumError(
            f"{subject} header",
            expected="every column named once",
            found=f"{', '.join(map(repr, repeated))} repeated",
            do="Rename or remove the columns.",
        )
