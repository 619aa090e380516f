"""Texts in whatever form a user gives them, as a table with one column of texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.core import VariorumError
from variorum.data.frames import TABLES, check_trained_on, read_table

if TYPE_CHECKING:
    import pandas as pd

LINES = ".txt"
"""Suffix of files with a text on each line."""


def open_texts(rows: Any, column: str) -> "pd.DataFrame":
    """A table's path, a DataFrame or dictionaries with the column; a .txt file with a text on each line; a text, or a
    sequence of texts. A string is a path if it has the suffix of one. Anything else raises :class:`VariorumError`.
    """
    import pandas as pd

    if isinstance(rows, Path) or (isinstance(rows, str) and Path(rows).suffix.lower() in {*TABLES, LINES}):
        rows = _read(Path(rows))
    if isinstance(rows, pd.DataFrame):
        return _with(rows, column)
    texts = [rows] if isinstance(rows, str) else list(rows)
    if texts and all(isinstance(row, dict) for row in texts):
        return _with(pd.DataFrame(texts), column)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise VariorumError(f"text {wrong}", expected="a string", found=type(texts[wrong]).__name__,
                            do="Give texts, or a table that has them in a column.")  # fmt: skip
    return pd.DataFrame({column: pd.Series(texts, dtype=object)})


def _with(frame: "pd.DataFrame", column: str) -> "pd.DataFrame":
    check_trained_on(frame, column)
    return frame


def _read(path: Path) -> Any:
    """A table, or lines; bytes that are not UTF-8 become U+FFFD."""
    if not path.is_file():
        raise VariorumError(str(path), expected="a file of texts", found="no file of this name", do="Check the path.")
    if path.suffix.lower() in TABLES:
        return read_table(path)[0]
    return path.read_text("utf-8", errors="replace").splitlines()
