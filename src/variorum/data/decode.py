"""Bytes of a text file as text, a piece at a time: UTF-8, UTF-16 or UTF-32 with a mark, else Windows-1252 by line."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from variorum.core import VariorumError

PIECE = 1 << 24
"""Bytes that are decoded at a time."""
LOOKED_AT = 1 << 20
"""Bytes of a file that are read to see whether it is text."""
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
REPLACED = "\N{REPLACEMENT CHARACTER}"
HALVES = re.compile("[\ud800-\udfff]")
"""Halves of characters (surrogates), which cannot be encoded alone."""


@dataclass
class Repairs:
    """What was not plain UTF-8: how many lines, the first of them, and bytes that stand for nothing."""

    encoding: str = "utf-8"
    lines: int = 0
    first: int = 0
    lost: int = 0

    def say(self) -> list[str]:
        """A sentence for each repair."""
        said = [] if self.encoding == "utf-8" else [f"Read as {self.encoding.upper()}."]
        if self.lines == 1:
            said.append(f"Line {self.first} is not UTF-8: read as Windows-1252.")
        elif self.lines:
            said.append(f"{self.lines} lines are not UTF-8 (first: line {self.first}): those are read as Windows-1252.")
        if self.lost:
            said.append(f"{self.lost} characters could not be decoded and stand as {REPLACED!r}.")
        return said


def is_utf8(head: bytes, *, cut: bool) -> bool:
    """Is it text in UTF-8? cut: more follows, so that the last character may not be whole."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return cut and error.start >= len(head) - 3 and b"\0" not in head
    return b"\0" not in head


def encodes(text: str) -> bool:
    """Can a text be written in UTF-8? Only halves of characters cannot."""
    return text.isascii() or not HALVES.search(text)


def whole(text: str) -> str:
    """The same text if it can be encoded; else with a mark for each half of a character."""
    return text if encodes(text) else HALVES.sub(REPLACED, text)


def decode(raw: bytes, subject: str) -> tuple[str, list[str]]:
    """Text of bytes, and a sentence for each repair. Empty or binary bytes raise :class:`VariorumError`."""
    repairs = Repairs()
    return "".join(decoded(BytesIO(raw), subject, repairs)), repairs.say()


def decoded(file: BinaryIO, subject: str, repairs: Repairs) -> Iterator[str]:
    """Text of a file in pieces that end where lines do; ``repairs`` are filled on the way."""
    head = file.read(4)
    repairs.encoding = next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")
    file.seek(0)
    found = _by_line(file, subject, repairs) if repairs.encoding == "utf-8" else _marked(file, repairs)
    blank = True
    for text in found:
        blank = blank and not text.strip()
        yield text
    if blank:
        raise VariorumError(subject, expected="a file with content", found="an empty file", do="Give another file.")


def _marked(file: BinaryIO, repairs: Repairs) -> Iterator[str]:
    """The codec itself tells the order of the bytes by the mark; half a character at the end is replaced, and said."""
    decoder = codecs.getincrementaldecoder(repairs.encoding)(errors="replace")
    last = False
    while not last:
        raw = file.read(PIECE)
        last = not raw
        text = decoder.decode(raw, final=last)
        repairs.lost += text.count(REPLACED)
        yield text


def _by_line(file: BinaryIO, subject: str, repairs: Repairs) -> Iterator[str]:
    seen = 0
    start = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
    file.seek(start)
    while raw := file.read(PIECE) + file.readline():
        if b"\0" in raw:
            raise VariorumError(subject, expected="text", found="binary content (zero bytes)",
                                do="Give a text file in UTF-8, or a .parquet file.")  # fmt: skip
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError:
            # Files that were pasted together hold both encodings: each line is read in the one that it is in.
            lines = enumerate(raw.split(b"\n"), start=seen + 1)
            yield "\n".join(_line(line, number, repairs) for number, line in lines)
        seen += raw.count(b"\n")


def _line(raw: bytes, number: int, repairs: Repairs) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    repairs.lines += 1
    repairs.first = repairs.first or number
    repairs.lost += text.count(REPLACED)
    return text
