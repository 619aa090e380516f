"""The report: whole in one file, true to the figures, and safe whatever the data are called."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compare.made import record, result
from variorum.compare.report.page import render, write_report
from variorum.compare.result import State

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u2028b & <b>bold</b> 'quoted' \"twice\"",
    "<a href='javascript:alert(1)'>name</a>",
]
CURVES = {"cct": [{"step": i, "loss": 2.0 / i, "valid": 1 - 1 / i, "seconds": 0.1 * i} for i in range(1, 1000)]}


class Page(HTMLParser):
    """The elements, texts and script bodies of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts = "", list[str]()
        self._in: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._in.append(tag)
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._in and self._in[-1] == tag:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        if self._in:
            self.scripts[-1] += data
        else:
            self.text += data


def made(tmp_path: Path, **data: Any) -> Any:
    results = [
        result("cct", 0.9, equals_best=True, latency_ms=2.0),
        result("linear", 0.89, baseline=True, title="a linear model", equals_best=True, latency_ms=0.1),
        result("vit", 0.5, latency_ms=9.0),
        result("broken", None, state=State.FAILED, error="it broke"),
    ]
    return record(tmp_path, results, **data)


def payload(page: Page) -> dict[str, Any]:
    return json.loads(next(s for s in page.scripts if s.lstrip().startswith('{"metric"')))


def test_the_figures_are_those_of_the_results(tmp_path: Path) -> None:
    page = Page(render(made(tmp_path), CURVES))
    assert (
        "Use cct: accuracy 90.0 % on unseen rows of digits (95 % interval 88.0 % to 91.0 %), 2.00 ms a prediction"
        in page.text
    )
    assert re.search(r"broken\s+failed: it broke", page.text)
    points = {p["name"]: p for p in payload(page)["points"]}
    assert points["cct"]["quality"] == 0.9
    assert points["linear"]["baseline"] is True
    assert points["vit"]["equals_best"] is False
    assert set(points) == {"cct", "linear", "vit"}
    assert "2.00 ms" in page.text and "with Classifier, ConvTokens" in page.text


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    text = render(made(tmp_path), CURVES)
    page = Page(text)
    outside = [
        (tag, a)
        for tag, a in page.tags
        for name in ("src", "href")
        if (a.get(name) or "data:").split(":")[0] not in ("data",)
    ]
    assert not outside
    assert text.count("plotly.js v") <= 1 and len(text) < 7_000_000


def test_curves_are_thinned_but_keep_their_ends(tmp_path: Path) -> None:
    (curve,) = payload(Page(render(made(tmp_path), CURVES)))["curves"]
    assert curve["name"] == "cct"
    assert len(curve["loss"]) <= 400
    assert curve["loss"][0][0] == pytest.approx(0.1)
    assert curve["loss"][-1][0] == pytest.approx(99.9)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path: Path, name: str) -> None:
    clean = Page(render(made(tmp_path), CURVES))
    results = [result("cct", 0.9, title=name), result("bad", None, state=State.FAILED, error=name)]
    dirty_record = record(
        tmp_path, [*results, result("x", 0.8, baseline=True, title=name)], title=name, notes=[name], facts={name: name}
    )
    dirty_record.notes.append(name)
    page = Page(render(dirty_record, {"cct": CURVES["cct"]}))
    assert name in page.text, "it is shown as it is written"
    allowed = {tag for tag, _ in clean.tags}
    assert {tag for tag, _ in page.tags} <= allowed
    assert [t for t, _ in page.tags].count("script") == [t for t, _ in clean.tags].count("script")
    assert not [a for _, a in page.tags for key in a if key.startswith("on")]
    assert payload(page)["points"]


def test_a_comparison_without_any_result_still_has_a_report(tmp_path: Path) -> None:
    failed = [result("cct", None, state=State.FAILED, error="no"), result("vit", None, state=State.WAITING)]
    text = render(record(tmp_path, failed), {})
    page = Page(text)
    assert "No candidate was trained to its end on digits: 1 failed." in page.text
    assert "vit did not run. Repeat the command to go on." in page.text
    assert len(text) < 100_000, "nothing is drawn, so the library that draws is left out"


# -- in a browser ------------------------------------------------------------------------------------------------------
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    "--virtual-time-budget=5000",
]  # fmt: skip


def opened(path: Path, tmp_path: Path, *more: str) -> tuple[str, list[str]]:
    """The page's elements after its scripts have run, and what the console said."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", *more, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("size", ["1280,900", "390,800"])
def test_the_page_draws_without_a_word_on_the_console(tmp_path: Path, size: str) -> None:
    path = tmp_path / "report.html"
    hostile = made(tmp_path, title="<script>document.title='owned'</script>", notes=HOSTILE)
    hostile.results["cct"] = hostile.results["cct"].but(title=HOSTILE[1])
    write_report(hostile, CURVES, path)
    dom, said = opened(path, tmp_path, f"--window-size={size}")
    assert not said
    assert dom.count('class="main-svg"') >= 4, "two plots are drawn"
    assert "<title>owned" not in dom
    assert "onerror=alert(1)>" not in dom
    assert re.search(r'<option value="0">latency of one prediction in ms</option>', dom)
