"""The table that is seen while a comparison runs; plain lines where there is no terminal."""

import threading
import time
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from variorum.compare import words
from variorum.compare.record import Record
from variorum.compare.result import Result, State

LOOKS = {State.WAITING: "dim", State.RUNNING: "bold cyan", State.FINISHED: "green", State.FAILED: "red"}


class Watcher(Protocol):
    """Who is told how a comparison goes."""

    def began(self, record: Record, deadline: float) -> None:
        """The candidates are known; ``deadline`` on ``time.monotonic``'s clock."""

    def told(self, name: str, event: dict[str, Any]) -> None:
        """A running candidate tells of its progress."""

    def changed(self, result: Result) -> None:
        """A candidate has started, finished or failed."""

    def says(self, sentence: str) -> None:
        """Something that concerns the whole."""


class Quiet:
    """A watcher that shows nothing."""

    def began(self, record: Record, deadline: float) -> None:
        """Nothing is shown."""

    def told(self, name: str, event: dict[str, Any]) -> None:
        """Nothing is shown."""

    def changed(self, result: Result) -> None:
        """Nothing is shown."""

    def says(self, sentence: str) -> None:
        """Nothing is shown."""


class Lines:
    """A line for every change: for files, pipes and logs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._start = time.monotonic()
        self._again: set[str] = set()

    def began(self, record: Record, deadline: float) -> None:
        """Say who takes part."""
        self._start = time.monotonic()
        names = ", ".join(candidate.name for candidate in record.candidates)
        self.says(f"{len(record.candidates)} candidates: {names}")

    def told(self, name: str, event: dict[str, Any]) -> None:
        """Steps are not worth a line."""

    def changed(self, result: Result) -> None:
        """A line with what is known of the candidate."""
        if result.state is State.RUNNING and result.finalist:
            if result.name not in self._again:
                self.says(f"{result.name}: trained again with several seeds{_for(result, ', ', ' each')}")
            self._again.add(result.name)
        elif result.state is State.RUNNING:
            self.says(f"{result.name}: runs{_for(result, ' for ', '')}")
        elif result.state is State.FINISHED:
            score = words.share(result.quality, metric=result.metric)
            low, high = (words.share(v, metric=result.metric) for v in (result.low, result.high))
            self.says(
                f"{result.name}: {result.metric} {score} ({low} to {high}), {words.count(result.parameters)} parameters"
            )
        elif result.state is State.FAILED:
            self.says(f"{result.name}: failed: {result.error}")
        elif result.state is State.OUT:
            self.says(f"{result.name}: out: {result.over}")

    def says(self, sentence: str) -> None:
        """The sentence after the time since the start."""
        clock = words.span(time.monotonic() - self._start)
        self.console.print(f"[{clock:>8}] {sentence}", markup=False, highlight=False, soft_wrap=True)


def _for(result: Result, before: str, after: str) -> str:
    """The seconds that a candidate was granted; nothing where it runs as long as it takes."""
    return "" if result.granted_seconds is None else f"{before}{words.span(result.granted_seconds)}{after}"


HEADS = ("candidate", "state", "steps", "loss", "score", "time left")
SAID = 4
"""Sentences under a table."""


class Progress:
    """What a table that is drawn again and again shows: a watcher that keeps the latest of everything."""

    def __init__(self) -> None:
        self.title = ""
        self._results: dict[str, Result] = {}
        self._events: dict[str, dict[str, Any]] = {}
        self._ends: dict[str, float] = {}
        self._deadline = 0.0
        self._says: list[str] = []
        self._lock = threading.Lock()

    def began(self, record: Record, deadline: float) -> None:
        """Set up the rows."""
        with self._lock:
            self._results = {c.name: record.results[c.name] for c in record.candidates}
            self._deadline, self.title = deadline, record.data["title"]

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

    def over(self) -> None:
        """There is no time left to be told of."""
        self._deadline = 0.0

    @property
    def left(self) -> str:
        """The time that is left, in words; empty before the beginning and after the end."""
        return f"{words.span(self._deadline - time.monotonic())} left" if self._deadline else ""

    @property
    def said(self) -> list[str]:
        """The last sentences."""
        with self._lock:
            return list(self._says)

    @property
    def rows(self) -> list[tuple[Result, tuple[str, ...]]]:
        """Each candidate with what stands under :data:`HEADS`."""
        with self._lock:
            return [(result, self._cells(result)) for result in self._results.values()]

    def _cells(self, result: Result) -> tuple[str, ...]:
        told, running = self._events.get(result.name, {}), result.state is State.RUNNING
        state = str(told.get("stage", result.state) if running else result.state)
        score = result.quality if result.quality is not None else told.get("valid")
        steps, loss, metric = result.steps or told.get("step"), told.get("loss"), result.metric or told.get("metric")
        left = words.span(self._ends[result.name] - time.monotonic()) if running and result.name in self._ends else ""
        return (result.name, state, "" if steps is None else f"{steps:,}", "" if loss is None else words.number(loss),
                "" if score is None else words.share(score, metric=metric), left)  # fmt: skip


class Board:
    """Draws a :class:`Progress` in a terminal, anew four times a second, from entering to leaving it."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress()
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._draw)

    def __enter__(self) -> Progress:
        self._live.start()
        return self.progress

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _draw(self) -> Table:
        progress = self.progress
        caption = Text("\n".join(progress.said), style="dim", justify="left")
        title = f"[bold]{escape(progress.title)}[/]  {progress.left}" if progress.left else None
        table = Table(title=title, title_justify="left", caption=caption, caption_justify="left", box=None,
                      pad_edge=False)  # fmt: skip
        for head in HEADS:
            table.add_column(head, justify="left" if head in ("candidate", "state") else "right", no_wrap=True)
        for result, (name, state, *figures) in progress.rows:
            label = Text(name, style="italic" if result.baseline else "")
            table.add_row(label, Text(state, style=LOOKS[result.state]), *figures)
        return table
