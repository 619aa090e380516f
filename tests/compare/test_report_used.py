"""The report in Chromium: drawn without a complaint, and used as a reader does."""

import csv
import io
import re
from pathlib import Path

import pytest

from compare.browser import BROWSER, opened, used
from compare.made import CURVES, HOSTILE, finished, gallery, record, result
from variorum.compare.report.page import write_report
from variorum.compare.result import State

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]


def script(name: str) -> str:
    """What a reader does, a file beside this one."""
    return (Path(__file__).parent / name).read_text("utf-8")


def whole(tmp_path: Path) -> Path:
    """A report of all that a report can hold."""
    results = [
        result("cct", 0.9, equals_best=True, latency_ms=2.0, trials=3, chosen='lr 0.01, "wide"'),
        result("linear", 0.89, baseline=True, title="a linear model", equals_best=True, latency_ms=0.1, size_bytes=500),
        result("vit", 0.5, latency_ms=9.0, size_bytes=90_000, throughput=250.0),
        result("swin", 0.95, state=State.OUT, over="12 ms a prediction, over the limit of 10 ms", latency_ms=12.0),
        result("broken", None, state=State.FAILED, error="it broke", latency_ms=None),
    ]
    told = {"cct": [{**e, "seed": seed} for seed in (0, 1) for e in CURVES["cct"][:50]], "vit": CURVES["cct"][:40]}
    path = tmp_path / "report.html"
    shown = {"cct": gallery(), "vit": gallery("bird")}
    write_report(record(tmp_path, results, notes=HOSTILE), told, path, galleries=shown)
    return path


@pytest.mark.parametrize("size", ["1280,900", "500,800"])
def test_the_page_draws_without_a_word_on_the_console(tmp_path: Path, size: str) -> None:
    path = tmp_path / "report.html"
    hostile = finished(tmp_path, title="<script>document.title='owned'</script>", notes=HOSTILE)
    hostile.results["cct"] = hostile.results["cct"].but(title=HOSTILE[1])
    write_report(hostile, CURVES, path, galleries={"cct": gallery(HOSTILE[0])})
    dom, said = opened(path, tmp_path, f"--window-size={size}")
    assert not said
    assert dom.count('class="main-svg"') >= 6, "three plots are drawn"
    assert "<title>owned" not in dom
    assert "onerror=alert(1)>" not in dom
    assert re.search(r'<option value="1">latency of one prediction in ms</option>', dom)


def test_a_reader_can_use_the_table(tmp_path: Path) -> None:
    found = used(whole(tmp_path), tmp_path, script("use_table.js"))
    assert found["console"] == []
    assert found["first"] == [["swin", "cct", "linear", "vit", "broken"], "descending"]
    assert found["slow"] == [["swin", "vit", "cct", "linear", "broken"], "descending", None]
    assert found["fast"] == [["linear", "cct", "vit", "swin", "broken"], "ascending"], (
        "what was not measured stays last"
    )
    assert found["named"] == [["broken", "cct", "linear", "swin", "vit"], "ascending"]
    assert found["focused"] is True
    assert found["baselines"] == [["linear"], "1 of 5"]
    assert found["failed"] == [["broken"], "1 of 5"]
    assert found["over"] == [["swin"], "1 of 5"]
    assert found["all"][1] == "5 candidates"
    assert found["search"][0] == 0 and found["search"][1] > 0
    (line,) = csv.DictReader(io.StringIO(found["csv"]))
    assert (line["name"], line["quality"], line["chosen"]) == ("cct", "0.9", 'lr 0.01, "wide"')
    assert found["link"] == "digits-candidates.csv"


def test_a_reader_can_choose_axes_and_themes_and_lines(tmp_path: Path) -> None:
    found = used(whole(tmp_path), tmp_path, script("use_plots.js"))
    assert found["console"] == [] and found["outside"] == []
    first = found["first"]
    assert first["names"] == ["linear (plain baseline)", "cct", "vit", "swin"]
    assert first["front"] == [0.1, 2.0], "one over a limit is not on the front, however good"
    assert first["symbols"] == ["diamond", "circle", "circle", "circle-open"]
    assert first["colours"][0] == first["colours"][1] != first["colours"][2], "equal to the best looks as the best"
    assert first["bars"] == 4 and first["type"] == "log" and "95 % intervals" in first["note"]
    assert found["focused"] is True
    assert found["right"].startswith("linear: accuracy 89.0 %, latency of one prediction in ms 0.100 ms; not disting")
    assert "swin" in found["left"] and "over the limit of 10 ms" in found["left"]
    assert sorted(found["sizes"]["x"]) == [500, 1000, 1000, 90_000] and found["sizes"]["front"] == [500, 1000]
    assert found["sizes"]["title"] == "size on disk in bytes" and found["linear"] == "linear"
    assert found["one"]["names"] == ["vit"] and "cct, linear" in found["one"]["note"]
    assert found["turned"][0] > found["turned"][1], "less is better, and up is better"
    assert ["linear", "500 B", "0.100 ms", "yes", "not distinguishable from the best"] in found["listed"]
    auto, light, dark, again = found["themes"]
    assert [t[0] for t in found["themes"]] == ["Theme: auto", "Theme: light", "Theme: dark", "Theme: auto"]
    assert light[1:] == auto[1:] == again[1:] == ["rgb(253, 253, 251)", "#fdfdfb"]
    assert dark[1:] == ["rgb(22, 24, 27)", "#16181b"], "the plots follow"
    assert found["lines"] == ["cct", "cct", "vit"] and found["fewer"] == ["vit"] and found["pressed"] == "false"
    assert found["steps"] == [40, "steps of training", "log"]
    assert found["galleries"] == [False, True] and found["other"] == [True, False]
    assert found["scatter"] == [1.0, 2.0]


def test_nothing_overflows_a_phone(tmp_path: Path) -> None:
    found = used(whole(tmp_path), tmp_path, script("use_phone.js"), width=360)
    assert found["console"] == []
    assert found["width"][0] == 360 and found["width"][1] <= 360
    assert found["over"] == []
    assert found["small"] == [] and found["unnamed"] == []
