"""Texts in whatever form a user gives them, as a table with one column of texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.core import VariorumError
from variorum.data.folders import given_files, shown
from variorum.data.frames import TABLES, check_file, read_table
from variorum.data.given_frame import say, to_answer
from variorum.data.text_files import TEXTS, read_text

if TYPE_CHECKING:
    import pandas as pd

LINES = ".txt"
"""Suffix of files with a text on each line."""


def open_texts(rows: Any, column: str) -> "pd.DataFrame":
    """A table's path, a DataFrame, columns by name, or dictionaries with the column; a .txt file with a text on each
    line; a folder of texts, each a file; a text, or a sequence of texts. A string with the suffix of a path is one.
    Anything else raises :class:`VariorumError`; what had to be repaired is a Python warning.
    """
    import pandas as pd

    if isinstance(rows, Path) or (isinstance(rows, str) and Path(rows).suffix.lower() in {*TABLES, LINES}):
        rows = _read(Path(rows), column)
    if isinstance(rows, dict):
        rows = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in rows.items()})
    if isinstance(rows, pd.DataFrame):
        return to_answer(rows, [column])
    if not isinstance(rows, str) and not pd.api.types.is_list_like(rows):
        raise VariorumError("texts", expected="a path, a text, a list of texts, or a table that has them in a column",
                            found=type(rows).__name__, do="Give one of these.")  # fmt: skip
    texts = [rows] if isinstance(rows, str) else list(rows)
    if texts and all(isinstance(row, dict) for row in texts):
        return to_answer(pd.DataFrame(texts), [column])
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise VariorumError(f"text {wrong}", expected="a string", found=type(texts[wrong]).__name__,
                            do="Give texts, or a table that has them in a column.")  # fmt: skip
    return to_answer(pd.DataFrame({column: pd.Series(texts, dtype=object)}), [column])


def _read(path: Path, column: str) -> "pd.DataFrame":
    """The rows of a table, the lines of a text, or the texts of a folder."""
    import pandas as pd

    if path.is_dir():
        files = given_files(path, TEXTS, one="a text", what="texts")
        texts, notes = zip(*map(read_text, files), strict=True)
        say(note for some in notes for note in some)
        return pd.DataFrame({column: pd.Series(texts, dtype=object, index=[*map(shown, files)])})
    check_file(path)
    if path.suffix.lower() in TABLES:
        frame, said = read_table(path)
    else:
        text, said = read_text(path)
        frame = pd.DataFrame({column: pd.Series(text.splitlines(), dtype=object)})
    say(said)
    return frame
