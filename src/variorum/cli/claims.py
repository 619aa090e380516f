"""``variorum claims``: the experiments behind the published claims."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


def claims(
    system: Annotated[
        str | None, typer.Argument(help="A name from `variorum list`; without: all that can be run.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; without: as many as the claim says.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to keep the outcome in.")] = Path("runs/claims"),
    write: Annotated[
        bool, typer.Option("--write", help="Write CLAIMS.md into this folder from the runs kept with the edition.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Run the experiment behind a system's published claim, or list all with what was found."""
    from variorum.claims.page import PAGE, outcome, page, says
    from variorum.claims.trial import claims as all_claims
    from variorum.claims.trial import run, stored
    from variorum.compare.atomic import write as write_file

    if write:
        write_file(Path(PAGE), page(stored()))
        return
    if system is None:
        found = {trial.claim: trial for trial in stored()}
        for claim in all_claims():
            typer.echo(f"{claim.system}\t{outcome(found.get(claim.__name__))}\t{says(claim)}")
        return
    for claim in all_claims(system):
        count = claim.seeds if seeds is None else seeds
        with _progress() as progress:
            bar = progress.add_task(claim.__name__, total=count)
            trial = run(claim, seeds=seeds, told=lambda seed, seconds, bar=bar: progress.advance(bar))  # type: ignore[misc]
        trial.write(out)
        typer.echo(f"{claim.system}: {says(claim)}", err=as_json)
        if as_json:
            typer.echo(json.dumps({**asdict(trial), "outcome": outcome(trial)}))
            continue
        for demand, verdict in trial.verdicts():
            typer.echo(f"  {verdict}: {demand}; found {trial.spread(demand.figure)}")
        for name in trial.figures:
            typer.echo(f"  {name}: {trial.spread(name)}")
        typer.echo(f"  kept in {out / f'{trial.claim}.json'}")


def _progress() -> "Progress":
    from rich import progress
    from rich.console import Console

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
               progress.TextColumn("seeds"), progress.TimeElapsedColumn(), progress.TimeRemainingColumn())  # fmt: skip
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)
