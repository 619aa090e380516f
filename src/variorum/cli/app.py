"""The command ``variorum``: its commands, and what becomes of errors."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from variorum.cli.advise import advise, growth
from variorum.cli.bench import bench
from variorum.cli.bundles import compile, export, import_checkpoint, predict
from variorum.cli.catalogue import catalogue, list_rows, show
from variorum.cli.check import check
from variorum.cli.claims import claims
from variorum.cli.compare import compare
from variorum.cli.dataflow import dataflow
from variorum.cli.doctor import doctor
from variorum.cli.serve import serve
from variorum.cli.shrink import shrink
from variorum.cli.study import study

DEBUG = "--debug"
FAULT = 2

app = typer.Typer(
    name="variorum",
    help="Every published Transformer, built from one set of parts, compared fairly on your own data and budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(compare)
app.command()(predict)
app.command("import")(import_checkpoint)
app.command()(compile)
app.command()(export)
app.command()(serve)
app.command("list")(list_rows)
app.command()(show)
app.command()(check)
app.command()(claims)
app.command()(study)
app.command()(bench)
app.command()(shrink)
app.command()(dataflow)
app.command()(advise)
app.command()(growth)
app.command()(catalogue)
app.command()(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        import variorum

        typer.echo(variorum.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where in the code an error was raised.")] = False,
) -> None:
    """Options of all commands."""


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; a fault in what the user gave is one message on standard error and exit code 2."""
    given = list(sys.argv[1:] if args is None else args)
    debug = DEBUG in given
    # It is understood behind a command too, where a reader of a failed command line would add it.
    command = typer.main.get_command(app)
    if args is None:  # this process is the command's own
        from variorum.runtime.allocator import keep_memory

        keep_memory()
    try:
        command([word for word in given if word != DEBUG], prog_name="variorum")
    except Exception as error:
        # Imported here, since it brings torch, which `variorum --help` can do without.
        from variorum.compare.atomic import disk_is_full
        from variorum.core.errors import VariorumError

        full = disk_is_full(error)
        if debug or not (full or isinstance(error, VariorumError)):
            raise
        says = f"the disk is full ({error}). Nothing finished is lost: free some space and repeat the command."
        typer.echo(f"Error: {says if full else error}", err=True)
        sys.exit(FAULT)
