"""Folders of texts by class, as a table: a file is a text."""

from pathlib import Path
from typing import TYPE_CHECKING

from variorum.data.folders import by_class, class_folders, files_in, given_parts
from variorum.data.text_files import TEXTS, read_text, text_files

if TYPE_CHECKING:
    import pandas as pd

TEXT, CLASS = "text", "class"
"""Names of the columns of the table."""
FEWEST = 5
"""Texts that every folder holds if folders are classes; fewer are chapters or works of one text."""


def sorts_texts(folder: Path) -> bool:
    """Do the sub-folders of a folder look like classes of texts? Each holds several, and none lies beside them."""
    if given_parts(folder, TEXTS):
        return True
    classes = class_folders(folder, TEXTS)
    counts = [len(files_in(sub, TEXTS)) for sub in classes]
    return len(counts) > 1 and min(counts) >= FEWEST and sum(counts) == len(text_files(folder))


def read_sorted(folder: Path) -> "tuple[pd.DataFrame, list[str] | None, tuple[str, ...]]":
    """Texts and classes, the part of each row if folders tell the split, and a sentence for each repair."""
    import pandas as pd

    found = by_class(folder, TEXTS, "texts")
    texts, notes = zip(*map(read_text, found.files), strict=True)
    frame = pd.DataFrame({TEXT: pd.Series(texts, dtype=object), CLASS: [found.names[code] for code in found.classes]})
    repairs = [note for some in notes for note in some]
    more = [f"{len(repairs) - 3} more repairs of this kind."] if len(repairs) > 3 else []
    said = f"{len(texts)} texts of {len(found.names)} classes, by folder; --reads text reads all of them as one text."
    return frame, found.parts, (said, *found.notes, *repairs[:3], *more)
