"""What is seen in a notebook: a table that is kept up to date, and the results; nothing in them is read as HTML."""

import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import variorum
from compare.made import result
from compare.test_live import go_through
from variorum.compare import notebook
from variorum.compare.live import Watcher
from variorum.compare.notebook import NotebookBoard, in_notebook, results_html
from variorum.compare.result import State


class Shown:
    """Stands in for IPython's handle of an output."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def update(self, html: str) -> None:
        self.drawn.append(html)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """IPython as far as it is asked for, with what was displayed."""
    handle = Shown()

    def display(html: str, display_id: bool) -> Shown:
        assert display_id
        handle.update(html)
        return handle

    package, displaying = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    displaying.HTML, displaying.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", displaying)
    yield handle


def test_the_table_is_kept_up_to_date(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "EVERY", 0.01)
    with NotebookBoard() as board:
        watch: Watcher = board
        go_through(watch, tmp_path, title="data <b>.csv")
        before = len(shown.drawn)
        until = time.monotonic() + 5
        while len(shown.drawn) < before + 3 and time.monotonic() < until:
            time.sleep(0.01)
        during = shown.drawn[-1]
    assert len(shown.drawn) > before + 3
    rows = {row.split("</td>")[0].rpartition(">")[2]: row for row in during.split("<tr") if "<td" in row}
    for figure in ("training", "1,200", "0.250", "87.5 %"):
        assert figure in rows["cct"]
    assert "30 s" in rows["cct"] or "29 s" in rows["cct"]
    assert "finished" in rows["vit"] and "90.0 %" in rows["vit"]
    assert "data &lt;b&gt;.csv" in during and "<b>.csv" not in during
    assert "1:00 min left" in during or "59 s left" in during
    assert "left" not in shown.drawn[-1].partition("<table>")[0], "nothing is left once it is over"
    after = len(shown.drawn)
    time.sleep(0.05)
    assert len(shown.drawn) == after, "its clock stands still once it is over"


def test_sentences_stand_below_and_are_escaped(shown: Shown) -> None:
    with NotebookBoard() as board:
        for i in range(6):
            board.says(f"sentence {i} <script>")
    assert "sentence 5 &lt;script&gt;" in shown.drawn[-1] and "sentence 1" not in shown.drawn[-1]


def test_results_are_a_table_of_what_is_known() -> None:
    found = [result("cct", 0.9), result("<i>vit</i>", None, state=State.FAILED, latency_ms=None)]
    html = results_html(found, metric="accuracy", answer="Use cct & go.")
    assert html.startswith("<p>Use cct &amp; go.</p><table>") and "90.0 %" in html and "1.00 ms" in html
    assert "&lt;i&gt;vit&lt;/i&gt;" in html and "<i>" not in html
    assert "rows/s" not in html, "what was measured of none has no column"


@pytest.mark.parametrize(("config", "answer"), [({"IPKernelApp": {}}, True), ({}, False), (None, False)])
def test_a_notebook_is_told_from_a_terminal(config: Any, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = None if config is None else types.SimpleNamespace(config=config)
    stand_in = types.ModuleType("IPython")
    stand_in.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", stand_in)
    assert in_notebook() is answer


def test_without_ipython_there_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert in_notebook() is False and "IPython" not in sys.modules


CELL = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
from compare.test_live import go_through
from variorum.compare.notebook import NotebookBoard, in_notebook, results_html
assert in_notebook()
with NotebookBoard() as board:
    go_through(board, Path({folder!r}))
    time.sleep(2.5)
"""


@pytest.mark.slow
def test_a_real_notebook_shows_one_table(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    paths = [str(Path(variorum.__file__).parents[1]), str(Path(__file__).parents[1])]
    cell = nbformat.v4.new_code_cell(CELL.format(paths=paths, folder=str(tmp_path)))
    book = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    (output,) = (output for output in book.cells[0].outputs if output["output_type"] == "display_data")
    html = output["data"]["text/html"]
    assert html.count("<table>") == 1 and "finished" in html and "late failed" in html
