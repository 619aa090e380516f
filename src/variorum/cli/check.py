"""``variorum check``: the contract suite."""

from typing import Annotated

import typer


def check(
    name: Annotated[str, typer.Argument(help="A registered part (Attention), or a system (cct): all its parts.")],
    slow: Annotated[bool, typer.Option("--slow", help="Also what compiles and exports.")] = False,
) -> None:
    """Hold a part, or every part of a system, to everything that it promises."""
    from variorum.compare.describe import parts_of
    from variorum.testing import check as hold

    broken = 0
    for part in parts_of(name):
        report = hold(part, slow=slow)
        typer.echo(str(report))
        broken += len(report.failures)
    if broken:
        raise typer.Exit(1)
