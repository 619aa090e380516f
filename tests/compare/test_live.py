"""What is seen while a comparison runs: a table in a terminal, lines elsewhere; nothing in it is read as markup."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from compare.made import record, result
from variorum.compare.live import Board, Lines, Watcher
from variorum.compare.result import State


def go_through(watch: Watcher, tmp_path: Path, title: str = "digits") -> None:
    waiting = [result(name, None, state=State.WAITING, steps=None) for name in ("cct", "vit", "late")]
    made = record(tmp_path, waiting, title=title)
    watch.began(made, time.monotonic() + 60)
    watch.says("Column '[b]x[/b]' is left out.")
    watch.changed(made.results["cct"].but(state=State.RUNNING, granted_seconds=30.0))
    watch.told("cct", {"stage": "training"})
    watch.told("cct", {"step": 1200, "loss": 0.25, "valid": 0.875, "metric": "accuracy", "seconds": 2.0})
    watch.changed(result("vit", 0.9, parameters=12_000))
    watch.changed(made.results["late"].but(state=State.FAILED, error="it [bold]broke"))


def test_the_table_shows_who_is_how_far(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, color_system=None)
    with Board(console) as board:
        go_through(board, tmp_path, title="data [red].csv")
    seen = text.getvalue()
    last = seen[seen.rindex("candidate") :]
    rows = {line.split()[0]: line for line in last.splitlines() if line.split()}
    assert "training" in rows["cct"] and "1,200" in rows["cct"] and "0.250" in rows["cct"] and "87.5 %" in rows["cct"]
    assert "30 s" in rows["cct"] or "29 s" in rows["cct"]
    assert "finished" in rows["vit"] and "90.0 %" in rows["vit"]
    assert "failed" in rows["late"] and "late failed: it [bold]broke" in seen
    assert "data [red].csv" in seen and "Column '[b]x[/b]' is left out." in seen


def test_lines_tell_every_change_once(tmp_path: Path) -> None:
    text = io.StringIO()
    go_through(Lines(Console(file=text, width=60)), tmp_path)
    lines = [line.partition("] ")[2] for line in text.getvalue().splitlines()]
    assert lines == [
        "3 candidates: cct, vit, late",
        "Column '[b]x[/b]' is left out.",
        "cct: runs for 30 s",
        "vit: accuracy 90.0 % (88.0 % to 91.0 %), 12.0 k parameters",
        "late: failed: it [bold]broke",
    ]


@pytest.mark.parametrize("width", [40, 200])
def test_the_table_fits_narrow_and_wide_terminals(tmp_path: Path, width: int) -> None:
    text = io.StringIO()
    with Board(Console(file=text, force_terminal=True, width=width, color_system=None)) as board:
        go_through(board, tmp_path)
    assert "cct" in text.getvalue()
