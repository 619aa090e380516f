"""What readers of tables of texts look at before they say how sure they are."""

from pathlib import Path
from typing import TYPE_CHECKING

from variorum.data.frames import TABLES, first_rows
from variorum.data.question import Question

if TYPE_CHECKING:
    import pandas as pd

LOOKED_AT = 400
"""Rows of a table that tell what its columns are."""


def head_of(path: Path, question: Question) -> "pd.DataFrame | None":
    """The first rows of a table that at most a target is asked of; None for all else."""
    if not path.is_file() or path.suffix.lower() not in TABLES or question.asked.keys() - {"target", "reads"}:
        return None
    frame = first_rows(path, LOOKED_AT)
    return frame if frame is not None and len(frame) else None
