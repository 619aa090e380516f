"""The table that is seen while a comparison runs; plain lines where there is no terminal."""

import time
from types import TracebackType
from typing import Any, Protocol, Self

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


class Board:
    """A table that is drawn anew four times a second."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._results: dict[str, Result] = {}
        self._events: dict[str, dict[str, Any]] = {}
        self._ends: dict[str, float] = {}
        self._deadline, self._title = 0.0, ""
        self._says: list[str] = []
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def began(self, record: Record, deadline: float) -> None:
        """Set up the rows."""
        self._results = {c.name: record.results[c.name] for c in record.candidates}
        self._deadline, self._title = deadline, record.data["title"]

    def told(self, name: str, event: dict[str, Any]) -> None:
        """Keep the latest of everything that is told."""
        self._events.setdefault(name, {}).update(event)

    def changed(self, result: Result) -> None:
        """Keep the result."""
        self._results[result.name] = result
        if result.state is State.RUNNING and result.granted_seconds is not None:
            self._ends[result.name] = time.monotonic() + result.granted_seconds
        if result.state is State.FAILED:
            self.says(f"{result.name} failed: {result.error}")

    def says(self, sentence: str) -> None:
        """Keep the sentence under the table."""
        self._says = [*self._says[-3:], sentence]

    def _draw(self) -> Table:
        left = words.span(self._deadline - time.monotonic()) if self._deadline else ""
        caption = Text("\n".join(self._says), style="dim", justify="left")
        table = Table(title=f"[bold]{escape(self._title)}[/]  {left} left" if left else None, title_justify="left",
                      caption=caption, caption_justify="left", box=None, pad_edge=False)  # fmt: skip
        for head in ("candidate", "state", "steps", "loss", "score", "time left"):
            table.add_column(head, justify="left" if head in ("candidate", "state") else "right", no_wrap=True)
        for name, result in self._results.items():
            table.add_row(*self._row(name, result))
        return table

    def _row(self, name: str, result: Result) -> tuple[Text | str, ...]:
        told = self._events.get(name, {})
        state = Text(str(told.get("stage", result.state)) if result.state is State.RUNNING else result.state,
                     style=LOOKS[result.state])  # fmt: skip
        score = result.quality if result.quality is not None else told.get("valid")
        left = ""
        if result.state is State.RUNNING and name in self._ends:
            left = words.span(self._ends[name] - time.monotonic())
        label = Text(name, style="" if not result.baseline else "italic")
        steps, loss = result.steps or told.get("step"), told.get("loss")
        metric = result.metric or told.get("metric")
        said = ("" if steps is None else f"{steps:,}", "" if loss is None else words.number(loss))
        return label, state, *said, "" if score is None else words.share(score, metric=metric), left
