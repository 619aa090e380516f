"""A task from a path or a bundled name."""

from pathlib import Path

from variorum.core import VariorumError
from variorum.data.images import ImageTask
from variorum.data.source import detect
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.data.text import TextTask


def load_task(source: str | Path, *, target: str | None = None, seed: int = 0) -> Task:
    """The task that a path or a bundled name holds.

    target: the column of a table to predict.  seed: of the split of a table or of images; a text is split by place.
    Raises :class:`VariorumError` for whatever cannot be learned from, and says what would help.
    """
    kind = detect(source)
    if target is not None and kind != "table":
        raise VariorumError(f"{source} target", expected=f"none: {kind} have no columns", found=repr(target),
                            do="Leave the target out.")  # fmt: skip
    if kind == "table":
        return TableTask(str(source), target=target, seed=seed)
    if kind == "images":
        return ImageTask(str(source), seed=seed)
    return TextTask(str(source))
