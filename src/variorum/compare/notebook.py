"""The table that is seen in a notebook while a comparison runs, and the results as a table of HTML."""

import sys
import threading
import time
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from variorum.compare import words
from variorum.compare.record import Record
from variorum.compare.report.columns import columns
from variorum.compare.result import Result, State

if TYPE_CHECKING:
    import pandas as pd

LOOKS = {State.WAITING: "opacity:.5", State.RUNNING: "font-weight:bold", State.FAILED: "color:#c62828"}
"""States that are seen at a glance."""
EVERY = 1.0
"""Seconds between two drawings: what each sends stays in the notebook until the next."""
SAID = 4
"""Sentences under the table."""


def in_notebook() -> bool:
    """Is this process the kernel of a notebook? IPython is not imported for the answer."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class NotebookBoard:
    """A watcher (see :class:`variorum.compare.live.Watcher`) that keeps one table in the output of a cell up to date.

    Used as a context: it is drawn anew once a second from entering to leaving it, and then a last time.
    """

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}
        self._events: dict[str, dict[str, Any]] = {}
        self._ends: dict[str, float] = {}
        self._deadline, self._title = 0.0, ""
        self._says: list[str] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._shown: Any = None
        self._clock = threading.Thread(target=self._tick, name="notebook-board", daemon=True)

    def __enter__(self) -> Self:
        from IPython.display import HTML, display

        self._html = HTML
        self._shown = display(HTML(self.html()), display_id=True)
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._clock.join()
        self._deadline = 0.0
        self._draw()

    def began(self, record: Record, deadline: float) -> None:
        """Set up the rows."""
        with self._lock:
            self._results = {c.name: record.results[c.name] for c in record.candidates}
            self._deadline, self._title = deadline, record.data["title"]

    def told(self, name: str, event: dict[str, Any]) -> None:
        """Keep the latest of everything that is told."""
        with self._lock:
            self._events.setdefault(name, {}).update(event)

    def changed(self, result: Result) -> None:
        """Keep the result."""
        with self._lock:
            self._results[result.name] = result
            if result.state is State.RUNNING and result.granted_seconds is not None:
                self._ends[result.name] = time.monotonic() + result.granted_seconds
        if result.state is State.FAILED:
            self.says(f"{result.name} failed: {result.error}")

    def says(self, sentence: str) -> None:
        """Keep the sentence under the table."""
        with self._lock:
            self._says = [*self._says[1 - SAID :], sentence]

    def html(self) -> str:
        """The table as it is now; everything that comes from data is escaped."""
        with self._lock:
            left = f" {words.span(self._deadline - time.monotonic())} left" if self._deadline else ""
            rows = [_row(self._cells(name, result), LOOKS.get(result.state, "")) for name, result in
                    self._results.items()]  # fmt: skip
            title = f"<p><b>{escape(self._title)}</b>{left}</p>" if self._title else ""
            says = "<br>".join(map(escape, self._says))
        heads = ("candidate", "state", "steps", "loss", "score", "time left")
        return f'{title}{_table([(head, "") for head in heads], rows)}<p style="opacity:.7">{says}</p>'

    def _cells(self, name: str, result: Result) -> list[str]:
        told = self._events.get(name, {})
        running = result.state is State.RUNNING
        state = str(told.get("stage", result.state) if running else result.state)
        score = result.quality if result.quality is not None else told.get("valid")
        steps, loss = result.steps or told.get("step"), told.get("loss")
        left = words.span(self._ends[name] - time.monotonic()) if running and name in self._ends else ""
        metric = result.metric or told.get("metric")
        return [name, state, "" if steps is None else f"{steps:,}", "" if loss is None else words.number(loss),
                "" if score is None else words.share(score, metric=metric), left]  # fmt: skip

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
