"""The table that is seen in a notebook while a comparison runs, and the results as a table of HTML."""

import sys
import threading
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from variorum.compare.live import HEADS, Progress
from variorum.compare.report.columns import columns
from variorum.compare.result import Result, State

if TYPE_CHECKING:
    import pandas as pd

LOOKS = {State.WAITING: "opacity:.5", State.RUNNING: "font-weight:bold", State.FAILED: "color:#c62828"}
"""States that are seen at a glance."""
EVERY = 1.0
"""Seconds between two drawings: what each sends stays in the notebook until the next."""


def in_notebook() -> bool:
    """Is this process the kernel of a notebook? IPython is not imported for the answer."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class NotebookBoard:
    """Draws a :class:`~variorum.compare.live.Progress` in the output of a cell.

    Used as a context: it is drawn anew once a second from entering to leaving it, and then a last time.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self._over = threading.Event()
        self._shown: Any = None
        self._clock = threading.Thread(target=self._tick, name="notebook-board", daemon=True)

    def __enter__(self) -> Progress:
        from IPython.display import HTML, display

        self._html = HTML
        self._shown = display(HTML(self.html()), display_id=True)
        self._clock.start()
        return self.progress

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._clock.join()
        self.progress.over()
        self._draw()

    def html(self) -> str:
        """The table as it is now; everything that comes from data is escaped."""
        progress = self.progress
        rows = [_row(cells, LOOKS.get(result.state, "")) for result, cells in progress.rows]
        title = f"<p><b>{escape(progress.title)}</b> {progress.left}</p>" if progress.title else ""
        says = "<br>".join(map(escape, progress.said))
        return f'{title}{_table([(head, "") for head in HEADS], rows)}<p style="opacity:.7">{says}</p>'

    def _tick(self) -> None:
        while not self._over.wait(EVERY):
            self._draw()

    def _draw(self) -> None:
        self._shown.update(self._html(self.html()))


def compare(data: "str | Path", **options: Any) -> "pd.DataFrame":
    """What :func:`variorum.compare.compare` finds, as a table: a line for each candidate, best first.

    options: as there.     The table's ``attrs`` hold answer, winner (the folder of the best bundle) and report.
    """
    from variorum.compare.results import compare as run

    results = run(data, **options)
    frame = results.frame
    frame.attrs.update(answer=results.answer, winner=str(results.winner or ""), report=str(results.report))
    return frame


def results_html(results: Sequence[Result], *, metric: str, answer: str = "") -> str:
    """Results, best first, as HTML: the answer, and below it the report's table, for a ``_repr_html_``."""
    known = columns(metric, results)
    rows = [_row([column.text(result) for column in known], LOOKS.get(result.state, "")) for result in results]
    said = f"<p>{escape(answer)}</p>" if answer else ""
    return said + _table([(column.name, column.says) for column in known], rows)


def _table(heads: Iterable[tuple[str, str]], rows: Iterable[str]) -> str:
    """heads: each with what is said when the pointer rests on it."""
    first = "".join(f'<th title="{escape(says)}">{escape(head)}</th>' for head, says in heads)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(cells: Sequence[str], look: str) -> str:
    """The first cell is a name, the others are figures."""
    first, rest = cells[0], cells[1:]
    style = f' style="{look}"' if look else ""
    others = "".join(f'<td style="text-align:right">{escape(cell)}</td>' for cell in rest)
    return f'<tr{style}><td style="text-align:left">{escape(first)}</td>{others}</tr>'
