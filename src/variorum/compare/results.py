"""The Python door: ``compare(data)`` does what the command does and gives back a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from variorum.compare import study
from variorum.compare.job import Job
from variorum.compare.live import Board, Lines, Quiet
from variorum.compare.machine import default_threads
from variorum.compare.record import Record
from variorum.data.question import Question

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """What a comparison found. ``winner`` is the folder of the best bundle: ``variorum.load(results.winner)``."""

    record: Record

    @property
    def frame(self) -> "pd.DataFrame":
        """A line for each candidate, best first; the columns of ``results.csv``."""
        import pandas as pd

        return pd.DataFrame([result.to_dict() for result in self.record.ordered]).set_index("name")

    @property
    def answer(self) -> str:
        """The answer in a sentence or two."""
        return study.says(self.record)

    @property
    def winner(self) -> Path | None:
        """The folder of the best bundle; None if no candidate came to its end."""
        return self.record.out / study.WINNER if self.record.finished else None

    @property
    def report(self) -> Path:
        """The report, an HTML file."""
        return self.record.out / study.REPORT


def compare(
    data: str | Path,
    *,
    reads: str | None = None,
    target: str | None = None,
    time: str | None = None,
    group: str | None = None,
    horizon: int | None = None,
    systems: list[str] | tuple[str, ...] | None = None,
    minutes: float = 5.0,
    seed: int = 0,
    out: str | Path | None = None,
    workers: int | None = None,
    console: Console | None = None,
    quiet: bool = False,
) -> Results:
    """Train and measure every system that fits the data, and plain baselines, within the minutes.

    data: a file, a folder or a bundled name; what it holds is detected (see :mod:`variorum.data.readers`).
    reads, target, time, group, horizon: what is asked (see :class:`Question`).     systems: names; None: all that fit.
    out: a folder; an unfinished comparison in it goes on.     workers: candidates trained at a time, one thread each;
    None: as many as cores.
    Raises :class:`VariorumError` for data, target or systems that cannot be used, before anything is written.
    """
    source = str(Path(data).absolute()) if Path(data).exists() else str(data)
    job = Job(
        source,
        Question(reads, target, time, group, horizon),
        tuple(systems) if systems is not None else None,
        minutes,
        seed,
        default_threads() if workers is None else workers,
    )
    folder = Path(out) if out is not None else Path("runs") / (Path(data).stem or "data")
    if quiet:
        return Results(study.run(job, folder, Quiet()))
    console = console or Console()
    if not console.is_terminal:
        return Results(study.run(job, folder, Lines(console)))
    with Board(console) as board:
        return Results(study.run(job, folder, board))
