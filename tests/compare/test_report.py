"""The report: whole in one file, true to the figures, and safe whatever the data are called."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compare.made import CURVES, HOSTILE, PNG, finished, gallery, record, result
from variorum.compare.report.galleries import MOST_BYTES
from variorum.compare.report.method import matching
from variorum.compare.report.page import render
from variorum.compare.result import State


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


def payload(page: Page) -> dict[str, Any]:
    return json.loads(next(s for s in page.scripts if s.lstrip().startswith('{"title"')))


def test_the_figures_are_those_of_the_results(tmp_path: Path) -> None:
    page = Page(render(finished(tmp_path), CURVES))
    assert (
        "Use cct: accuracy 90.0 % on unseen rows of digits (95 % interval 88.0 % to 91.0 %), 2.00 ms a prediction"
        in page.text
    )
    assert re.search(r"broken\s+failed: it broke", page.text)
    points = {p["name"]: p for p in payload(page)["points"]}
    assert points["cct"]["quality"] == 0.9
    assert points["linear"]["baseline"] is True
    assert [points[name]["standing"] for name in ("cct", "linear", "vit")] == ["best", "equal", "worse"]
    assert set(points) == {"cct", "linear", "vit"}
    assert "2.00 ms" in page.text and "with Classifier, ConvTokens" in page.text


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    text = render(finished(tmp_path), CURVES)
    page = Page(text)
    outside = [
        (tag, a)
        for tag, a in page.tags
        for name in ("src", "href")
        if not (a.get(name) or "data:").startswith(("data:", "#"))
    ]
    assert not outside
    (rule,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert rule is not None and rule.startswith("default-src 'none'")
    own = text.replace(next(s for s in page.scripts if "plotly.js v" in s), "")
    # The name of the language that SVG elements are made in is no address.
    assert re.findall(r"https?://[^\s\"']+", own) == ["http://www.w3.org/2000/svg"] * own.count("createElementNS(")
    assert text.count("plotly.js v") <= 1 and len(text) < 7_000_000


def test_curves_are_thinned_but_keep_their_ends(tmp_path: Path) -> None:
    (curve,) = payload(Page(render(finished(tmp_path), CURVES)))["curves"]
    (line,) = curve["lines"]
    assert curve["name"] == "cct" and line["seed"] is None
    assert len(line["loss"]) <= 300
    assert line["loss"][0] == [0.1, 1, 2.0]
    assert line["loss"][-1][:2] == [99.9, 999]


def test_a_finalist_has_a_line_for_each_seed_and_another_its_longest_trial(tmp_path: Path) -> None:
    def events(n: int, **of: int) -> list[dict[str, Any]]:
        return [{"step": i, "loss": 1.0, "seconds": float(i), **of} for i in range(1, n + 1)]

    broken = {"step": 1, "seconds": 1.0, "loss": float("nan"), "trial": 1}
    told = {
        "cct": [*events(9, trial=0), *events(4, seed=7), *events(5, seed=8)],
        "vit": [*events(2, trial=0), *events(3, trial=1), broken],
    }
    curves = payload(Page(render(finished(tmp_path), told)))["curves"]
    found = {c["name"]: [(line["seed"], len(line["loss"])) for line in c["lines"]] for c in curves}
    assert found == {"cct": [(7, 4), (8, 5)], "vit": [(None, 3)]}


def test_one_over_a_limit_is_said_and_cannot_be_best(tmp_path: Path) -> None:
    over = result("swin", 0.99, state=State.OUT, over="9.1 ms a prediction, over the limit of 5 ms")
    page = Page(render(record(tmp_path, [over, result("cct", 0.9), result("vit", 0.5)]), {}))
    assert "Use cct:" in page.text
    assert "Over a limit, so not chosen: swin (9.1 ms a prediction, over the limit of 5 ms)." in page.text
    standing = {p["name"]: p["standing"] for p in payload(page)["points"]}
    assert standing == {"swin": "out", "cct": "best", "vit": "worse"}


def test_finals_and_search_are_told_where_there_were_any(tmp_path: Path) -> None:
    plain = Page(render(finished(tmp_path), CURVES)).text
    assert "did not reach the final" not in plain and "Successive halving" not in plain
    results = [
        result("cct", 0.9, finalist=True, seeds=3, spread=0.004, trials=9, stopped=4, chosen="lr 0.01", valid=0.91),
        result("vit", 0.5, finalist=False, seeds=1, trials=3, stopped=1),
    ]
    page = Page(render(record(tmp_path, results), {}))
    text = " ".join(page.text.split())
    ended = "12 trials were begun in all, 5 of them ended early"
    for said in ("mean of 3 seeds", "3, ± 0.4 points", "vit did not reach the final", ended, "lr 0.01"):
        assert said in text, said


def test_matching_says_how_far_apart_the_rest_lies(tmp_path: Path) -> None:
    made_of = [result("cct", 0.9, parameters=4000, flops=100), result("vit", 0.8, parameters=1000, flops=100)]
    matched, apart = matching(record(tmp_path, made_of))
    assert matched == "Matched: the seconds that each candidate was granted (used: 3 s)."
    assert "parameters 1.0 k to 4.0 k, 4.0 times" in apart and "FLOPs of one prediction 100." in apart


def test_the_table_holds_every_figure_in_full(tmp_path: Path) -> None:
    found = finished(tmp_path)
    found.put(found.results["cct"].but(quality=0.9000000000000123))
    table = payload(Page(render(found, {})))["table"]
    assert ",".join(table["columns"]) == found.table().splitlines()[0]
    line = dict(zip(table["columns"], table["rows"]["cct"], strict=True))
    assert float(line["quality"]) == 0.9000000000000123 and line["energy_mj"] == ""


# -- galleries ---------------------------------------------------------------------------------------------------------
def test_galleries_are_shown_for_those_that_have_one(tmp_path: Path) -> None:
    page = Page(render(finished(tmp_path), {}, galleries={"cct": gallery(), "vit": {"rows": 0, "of": 0, "shown": []}}))
    assert [a["data-name"] for tag, a in page.tags if a.get("class") == "gallery"] == ["cct"]
    text = " ".join(page.text.split())
    sentences = ("20 of the 40 test rows", "90 % sure", "true 1.500 predicted 2.250", "and 3 more columns")
    for said in (*sentences, "accuracy 125.0 %"):
        assert said in text, said
    assert [a["src"] for tag, a in page.tags if tag == "img"] == [PNG]
    assert payload(page)["scatters"] == {"cct": gallery()["scatter"]}


@pytest.mark.parametrize("name", [*HOSTILE, "javascript:alert(1)"])
def test_hostile_galleries_stay_text(tmp_path: Path, name: str) -> None:
    def page(of: dict[str, Any]) -> Page:
        return Page(render(finished(tmp_path), CURVES, galleries={"cct": of}))

    harmless = gallery(image="cat", sound="cat", true="cat", said="cat")
    clean, dirty = page(harmless), page(gallery(name, image=name, sound=PNG + name, true=name, said=name))
    assert name in dirty.text, "it is shown as it is written"
    assert [tag for tag, _ in dirty.tags] == [tag for tag, _ in clean.tags]
    assert not [a for _, a in dirty.tags for key in a if key.startswith("on")]
    assert [a["src"] for tag, a in dirty.tags if tag in ("img", "audio")] == [PNG, "data:audio/wav;base64,UklGRg=="]


def test_galleries_keep_within_their_room(tmp_path: Path) -> None:
    large = {**gallery(), "shown": [{"true": "a", "said": "b", "text": "x" * 1000} for _ in range(2000)]}
    endless = {**gallery(), "scatter": {"true": [0.0] * 10**6, "said": [0.0] * 10**6}}
    page = render(finished(tmp_path), {}, galleries={"cct": large, "linear": gallery(), "vit": endless})
    without = render(finished(tmp_path), {})
    assert MOST_BYTES / 3 < len(page) - len(without) < 1.5 * MOST_BYTES
    assert "Not shown, to keep this page small: vit." in page
    assert 'data-name="linear"' in page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path: Path, name: str) -> None:
    clean = Page(render(finished(tmp_path), CURVES))
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
