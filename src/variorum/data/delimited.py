"""Text files of separated fields (CSV, TSV): what separates them, what is amiss, and the rows, at once or in pieces."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from variorum.core import VariorumError
from variorum.data.columns import known
from variorum.data.rows import Rows
from variorum.data.written import Written, groups_of_points, how_written

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Rows)
SEPARATORS = ",;\t|"
LOOKED_AT = 50
"""Records that tell which separator it is."""
MOST_COLUMNS = 100_000
LARGEST_FIELD = (1 << 31) - 1
"""Characters of a field; what a C long holds everywhere."""
SAYS_SEPARATOR = re.compile(r'"?sep=(.)"?\s*')
"""A first line that some spreadsheets write."""


@dataclass
class Delimited:
    """A file of separated fields that was looked through once. Built by :meth:`of`.

    opens: opens the text at its beginning.     name: of the file.     names: of the columns.
    skipped: lines above the header.     notes: a sentence for each repair.
    """

    opens: Callable[[], TextIO]
    name: str
    separator: str
    skipped: int
    names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, opens: Callable[[], TextIO], name: str, usual: str) -> "Delimited":
        """Look through all records. Rows longer than the header, a header that is data, repeated names and bare quotes
        raise :class:`VariorumError`; short rows and another separator than the usual one are said.
        """
        csv.field_size_limit(LARGEST_FIELD)
        with opens() as text:
            first = text.readline()
            while first and not first.strip():
                first = text.readline()
        said = SAYS_SEPARATOR.fullmatch(first)
        found = cls(opens, name, said[1] if said else "", 1 if said else 0)
        found.separator = found.separator or found._likely(usual)
        if found.separator != usual:
            found.notes.append(f"Fields are separated by {found.separator!r} rather than {usual!r}.")
        found._check()
        return found

    def records(self, separator: str = "") -> Iterator[tuple[int, list[str]]]:
        """Line numbers and fields of all records that are not blank."""
        with self.opens() as text:
            for _ in range(self.skipped):
                text.readline()
            reader = csv.reader(text, delimiter=separator or self.separator, skipinitialspace=True)
            try:
                for fields in reader:
                    if fields:
                        yield reader.line_num + self.skipped, fields
            except csv.Error as error:
                line = reader.line_num + self.skipped
                raise VariorumError(f"{self.name} line {line}", expected="fields of a table", found=str(error),
                                    do="Mend the line.") from None  # fmt: skip

    def frame(self, as_text: Sequence[str] = ()) -> "pd.DataFrame":
        """All rows. as_text: columns that are left as they are written."""
        frame = self._read(dict.fromkeys(as_text, "str"), None)
        # Where integers too large for 64 bits make a column one of text, pandas leaves its gaps as empty texts.
        gaps = {name: frame[name] == "" for name in frame.columns if frame[name].dtype == "str"}
        return frame.assign(**{name: frame[name].mask(gap) for name, gap in gaps.items() if gap.any()})

    def pieces(self, rows: int, types: dict[str, Any]) -> "Iterator[pd.DataFrame]":
        """The rows, so many at a time; what has no type is given one piece by piece."""
        yield from self._read(types, rows)

    def _read(self, types: dict[str, Any], rows: int | None) -> Any:
        import pandas as pd

        text = self.opens()
        for _ in range(self.skipped):
            text.readline()
        try:
            return pd.read_csv(text, sep=self.separator, index_col=False, skipinitialspace=True, low_memory=False,
                               names=list(self.names), header=0, dtype=types, chunksize=rows)  # fmt: skip
        except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
            raise VariorumError(self.name, expected="a table", found=str(error).strip().splitlines()[0],
                                do="Mend the file, or write it again as .parquet.") from None  # fmt: skip

    def _likely(self, usual: str) -> str:
        """The usual separator if the first records have as many fields as the header with it; else the one with which
        they have most; else the one that the header has most of.
        """
        widths = {separator: self._width(separator) for separator in SEPARATORS}
        if widths[usual] > 1 or not any(width > 1 for width in widths.values()):
            with self.opens() as text:
                header = next((line for line in text if line.strip()), "")
            best = max(SEPARATORS, key=header.count)
            return usual if widths[usual] > 1 or usual in header or best not in header else best
        return max(SEPARATORS, key=lambda separator: widths[separator])

    def _width(self, separator: str) -> int:
        """How many fields each of the first records has; 0 if they differ."""
        try:
            widths = {len(fields) for _, fields in islice(self.records(separator), LOOKED_AT)}
        except VariorumError:  # read with the separator that is chosen in the end it is raised again
            return 0
        return widths.pop() if len(widths) == 1 else 0

    def _check(self) -> None:
        width, short, first = 0, 0, 0
        for line, fields in self.records():
            if not width:
                width = len(fields)
                self.names = _header([name.strip() for name in fields], f"{self.name} line {line}", self.notes)
            elif len(fields) > width:
                raise VariorumError(f"{self.name} line {line}", expected=f"{width} fields, as in the header",
                                    found=f"{len(fields)}",
                                    do="Quote fields that hold the separator, or mend the line.")  # fmt: skip
            elif len(fields) < width:
                short, first = short + 1, first or line
        if short:
            self.notes.append(
                f"{short} rows have fewer fields than the header (first: line {first}): the rest is missing."
            )


def text_of(text: str) -> Callable[[], TextIO]:
    """Opens a text that is in memory."""
    return lambda: io.StringIO(text, newline="")


def with_points(read: Callable[[Sequence[str]], R], as_text: Sequence[str], notes: list[str]) -> R:
    """The rows that ``read`` reads with some columns left as they are written.

    Where a column has decimal commas, columns such as 1.234, 12.500, 980 are those of whole numbers with points between
    the thousands, and so are read as text too; that is said.
    """
    rows = read(as_text)
    fractions = [name for name in rows.names if name not in as_text and rows.type(name) == "float64"]
    texts = (name for name in rows.names if rows.type(name) == "str")
    if not fractions or not any(how_written(known(rows.column(name))) is Written.COMMA for name in texts):
        return rows
    written = read([*as_text, *fractions])
    wrong = [name for name in fractions if groups_of_points(known(written.column(name)))]
    if not wrong:
        return rows
    notes.append(f"Points stand between thousands, as other columns have decimal commas: {', '.join(wrong)}.")
    return read([*as_text, *wrong])


def _header(names: list[str], subject: str, notes: list[str]) -> tuple[str, ...]:
    """Names of the columns, those that have none called by their place."""
    if all(_number(name) for name in names) and names != [str(i) for i in range(len(names))]:
        raise VariorumError(subject, expected="names of columns", found=f"numbers: {', '.join(names[:4])}",
                            do="Put a header with one name for each column on the first line.")  # fmt: skip
    named = tuple(name or f"Unnamed: {place}" for place, name in enumerate(names))
    check_names(named, subject)
    if unnamed := [name for name, given in zip(named, names, strict=True) if not given]:
        notes.append(f"Columns without a name are called by their place: {', '.join(unnamed)}.")
    return named


def check_names(names: Sequence[str], subject: str) -> None:
    """Names that are repeated, or far too many, raise VariorumError."""
    if len(names) > MOST_COLUMNS:
        raise VariorumError(subject, expected=f"at most {MOST_COLUMNS:,} columns", found=f"{len(names):,}",
                            do="Give each row a line of its own, or leave columns out.")  # fmt: skip
    repeated = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if repeated:
        raise VariorumError(subject, expected="every column named once",
                            found=f"{', '.join(map(repr, repeated[:6]))}{', ...' * (len(repeated) > 6)} repeated",
                            do="Rename or remove the columns.")  # fmt: skip


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
