"""``variorum doctor``: what a report of a fault should say."""

import typer


def doctor() -> None:
    """Print versions, processor, threads and which optional parts are installed."""
    from variorum.compare.pages import health

    for name, value in health():
        typer.echo(f"{name:<16} {value}")
