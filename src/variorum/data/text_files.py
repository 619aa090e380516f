"""Files of text, and folders of them: which there are, and what is in one."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.decode import decode
from variorum.data.folders import shown

TEXTS = frozenset({".txt", ".md"})
"""Suffixes of the files of text in a folder."""


def text_files(folder: Path) -> list[Path]:
    """The files of text in a folder and its sub-folders, in the order of their names; hidden ones are passed over."""
    found = [f for f in folder.rglob("*") if f.suffix.lower() in TEXTS and f.is_file()]
    visible = [f for f in found if not any(part.startswith(".") for part in f.relative_to(folder).parts)]
    return sorted(visible, key=lambda f: f.relative_to(folder).parts)


def holds_mostly(folder: Path) -> bool:
    """Has a folder more texts than anything else? A note beside pictures is none."""
    files = sum(1 for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    return 2 * len(text_files(folder)) > files


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text of a file, "" of one without content, and a sentence for each repair (see
    :mod:`variorum.data.decode`). What cannot be read, or is no text, raises :class:`VariorumError`.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise VariorumError(shown(path), expected="a file with text", found=error.strerror or str(error),
                            do="Check the path and its permissions.") from None  # fmt: skip
    if not raw.strip():
        return "", ()
    text, notes = decode(raw, shown(path))
    return text, tuple(f"{shown(path)}: {note}" for note in notes)
