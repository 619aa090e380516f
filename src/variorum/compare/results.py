"""The Python door: ``compare(data)`` does what the command does and gives back a table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from variorum.compare import last, study
from variorum.compare.job import Job
from variorum.compare.limits import Limits
from variorum.compare.live import Board, Lines, Quiet, Watcher
from variorum.compare.machine import default_threads
from variorum.compare.match import Match
from variorum.compare.notebook import NotebookBoard, in_notebook, results_html
from variorum.compare.record import Record
from variorum.data.question import Question

if TYPE_CHECKING:
    import pandas as pd


USUAL_MINUTES, ENDLESS_MINUTES = 5.0, 60 * 24 * 30


@dataclass(frozen=True)
class Results:
    """What a comparison found. ``winner`` is the folder of the best bundle: ``variorum.load(results.winner)``."""

    record: Record

    @property
    def frame(self) -> "pd.DataFrame":
        """A line for each candidate, best first; the columns of ``results.csv``."""
        import pandas as pd

        return pd.DataFrame([result.to_dict() for result in self.record.ordered]).set_index("name")

    def _repr_html_(self) -> str:
        return results_html(self.record.ordered, metric=self.record.data["metric"], answer=self.answer)

    @property
    def answer(self) -> str:
        """The answer in a sentence or two."""
        return study.says(self.record)

    @property
    def winner(self) -> Path | None:
        """The folder of the best bundle; None if no candidate came to its end."""
        return self.record.out / last.WINNER if self.record.finished else None

    @property
    def report(self) -> Path:
        """The report, an HTML file."""
        return self.record.out / last.REPORT


def compare(
    data: str | Path,
    *,
    reads: str | None = None,
    target: str | None = None,
    time: str | None = None,
    group: str | None = None,
    horizon: int | None = None,
    systems: list[str] | tuple[str, ...] | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    latency: str | float | None = None,
    memory: str | float | None = None,
    size: str | float | None = None,
    match: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    workers: int | None = None,
    storage: str | None = None,
    ray: str | None = None,
    console: Console | None = None,
    quiet: bool = False,
) -> Results:
    """Train and measure every system that fits the data, and plain baselines, within the minutes.

    data: a file, a folder or a bundled name; what it holds is detected (see :mod:`variorum.data.readers`).
    reads, target, time, group, horizon: what is asked (see :class:`Question`).     systems: names; None: all that fit.
    minutes: for everything; 5 if nothing is said.     steps: of each training, instead: the same steps and seed find
    the same again on another day.     latency, memory, size: the most that a prediction of the winner may take ("1ms",
    "64MB"; plain numbers are ms and MB).     match: what is made equal: time, steps, parameters or flops.
    out: a folder; an unfinished comparison in it goes on.     workers: candidates trained at a time, one thread each;
    None: as many as cores.     storage: URL of a database that several machines share, as they then must share ``out``.
    ray: address of a Ray cluster ("local": one on this machine) whose nodes see ``out``.
    Raises :class:`VariorumError` for data, target or systems that cannot be used, before anything is written.
    """
    source = str(Path(data).absolute()) if Path(data).exists() else str(data)
    if minutes is None:
        minutes = USUAL_MINUTES if steps is None else ENDLESS_MINUTES
    job = Job(
        source,
        Question(reads, target, time, group, horizon),
        tuple(systems) if systems is not None else None,
        minutes,
        seed,
        default_threads() if workers is None else workers,
        limits=Limits.parse(latency, memory, size),
        match=Match.of(match, steps),
        steps=steps,
        storage=storage,
        ray=ray,
    )
    folder = Path(out) if out is not None else Path("runs") / (Path(data).stem or "data")
    with _watching(console, quiet=quiet) as watch:
        return Results(study.run(job, folder, watch))


@contextmanager
def _watching(console: Console | None, *, quiet: bool) -> Iterator[Watcher]:
    """Who shows how it goes: nobody, a notebook's cell, a terminal's table, or plain lines."""
    if quiet:
        yield Quiet()
        return
    if console is None and in_notebook():
        with NotebookBoard() as shown:
            yield shown
        return
    console = console or Console()
    if not console.is_terminal:
        yield Lines(console)
        return
    with Board(console) as board:
        yield board
