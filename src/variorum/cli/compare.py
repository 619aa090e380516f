"""``variorum compare``: the main job."""

from pathlib import Path
from typing import Annotated

import typer

DATA = "A file, a folder, or a bundled name (digits, iris, ...); what it holds is detected and said."
READS = "The kind of data, if it is not what is detected: table, text, images, ..."
SYSTEMS = "Names of systems, separated by commas; all that fit if left out. Plain baselines always take part."
OUT = "A folder for the results; runs/NAME if left out. An unfinished comparison in it goes on."
STEPS = "Of each training, instead of minutes: the same command then finds the same again on another day."
MATCH = "What is made equal for all: time, steps, parameters or flops; time if left out, steps where they are given."
STORAGE = "URL of a database that several machines share: each is given the same command, and a shared --out."
RAY = "Address of a Ray cluster that trains (its nodes must see --out), or local for one on this machine."
WORKERS = "Candidates trained at a time, one thread each; as many as cores if left out."


def compare(
    data: Annotated[str, typer.Argument(help=DATA)],
    target: Annotated[str | None, typer.Option(help="The column to predict (tables).")] = None,
    reads: Annotated[str | None, typer.Option(help=READS)] = None,
    time: Annotated[str | None, typer.Option(help="The column of times (forecasts).")] = None,
    group: Annotated[str | None, typer.Option(help="The column that tells series apart (forecasts).")] = None,
    horizon: Annotated[int | None, typer.Option(help="How many steps to forecast.")] = None,
    systems: Annotated[str | None, typer.Option(help=SYSTEMS)] = None,
    minutes: Annotated[float | None, typer.Option(help="For everything together; 5 if nothing is said.")] = None,
    steps: Annotated[int | None, typer.Option(help=STEPS)] = None,
    latency: Annotated[str | None, typer.Option(help="The most that a prediction may take: 1ms, 0.5s.")] = None,
    memory: Annotated[str | None, typer.Option(help="The most memory that a prediction may take: 64MB.")] = None,
    size: Annotated[str | None, typer.Option(help="The most that the model may take on disk: 2MB.")] = None,
    match: Annotated[str | None, typer.Option(help=MATCH)] = None,
    seed: Annotated[int, typer.Option(help="Of splits, initial weights and batches.")] = 0,
    out: Annotated[Path | None, typer.Option(help=OUT)] = None,
    workers: Annotated[int | None, typer.Option(help=WORKERS)] = None,
    storage: Annotated[str | None, typer.Option(help=STORAGE)] = None,
    ray: Annotated[str | None, typer.Option(help=RAY)] = None,
) -> None:
    """Train and measure every system that fits the data, and plain baselines, and say which one to use.

    Writes report.html, results.csv and winner/ into the folder. Ctrl-C keeps what is finished.
    """
    from variorum.compare import forks

    forks.get_ready()  # it imports while this process does
    from rich.console import Console

    from variorum.compare import compare as run

    console = Console()
    chosen = [name.strip() for name in systems.split(",") if name.strip()] if systems is not None else None
    results = run(data, reads=reads, target=target, time=time, group=group, horizon=horizon, systems=chosen,
                  minutes=minutes, steps=steps, latency=latency, memory=memory, size=size, match=match, seed=seed,
                  out=out, workers=workers, storage=storage, ray=ray, console=console)  # fmt: skip
    console.print(f"\n{results.answer}\n", markup=False, highlight=False)
    console.print(f"report   {results.report}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"results  {results.report.with_name('results.csv')}", markup=False, highlight=False, soft_wrap=True)
    if results.winner is None:
        raise typer.Exit(1)
    console.print(f"winner   {results.winner}", markup=False, highlight=False, soft_wrap=True)
