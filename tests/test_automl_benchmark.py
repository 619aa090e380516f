"""The comparison with other tools: they get exactly the rows of our task, and verdicts follow from the scores."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from variorum.compare.interval import Scores
from variorum.data.forecast import ForecastTask
from variorum.data.images import ImageTask
from variorum.data.labelled_series import LabelledSeriesTask
from variorum.data.opened import opened
from variorum.data.table import TableTask
from variorum.data.task import Task

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    """A file of the benchmarks as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def truth(task: Task) -> np.ndarray:
    """The right answers to the test rows, in the user's terms, taken from the source and not from what others get."""
    if isinstance(task, ForecastTask):
        found, rows = [], task.rows.build()
        for batch in task.held_out("test", 7):
            found += [values * rows.scales[0] + rows.means[0] for values in batch.targets[0].double().numpy()]
        return np.stack(found)[..., 0]
    if isinstance(task, TableTask) and task.writes == "value":
        return opened(task.source, "table")[0][task.target.name].to_numpy(float)[task.parts.test]
    codes = torch.cat([batch.targets for batch in task.held_out("test", 7)])
    return np.eye(len(task.labels))[codes.numpy()]


MADE = {
    "classes of a table": lambda: TableTask("iris"),
    "values of a table": lambda: TableTask("diabetes"),
    "a forecast": lambda: ForecastTask("co2", horizon=8),
    "uneven series": lambda: LabelledSeriesTask("digit-rows"),
    "images": lambda: ImageTask("digits"),
}


@pytest.mark.parametrize("name", MADE)
def test_other_tools_get_the_rows_of_the_task_and_only_those(name: str, script, tmp_path: Path) -> None:
    """Right answers score perfectly and in another order do not; no answer to a test row is given away."""
    task, rows = MADE[name](), script("_automl_rows")
    found = rows.given(task)
    found.write(tmp_path)
    found = script("_automl_given").Given.read(tmp_path)
    answers = truth(task)
    perfect = 1.0 if task.higher_is_better else 0.0
    assert rows.scored(task, answers).mean == pytest.approx(perfect, abs=1e-6)
    assert abs(rows.scored(task, np.roll(answers, 1, axis=0)).mean - perfect) > 1e-3
    if isinstance(task, ForecastTask):
        last, whole = found.facts.origins[-1], pd.concat([found.train, found.test])["target"].to_numpy()
        assert len(whole) == last and found.facts.origins[0] == len(found.train)
        np.testing.assert_allclose(whole[found.facts.origins[0] :].reshape(-1, 8), answers[:-1], atol=1e-3)
        return
    assert len(found.test) == len(answers) and "target" not in found.test
    assert len(found.train) == len(task.parts.train) + len(task.parts.valid)
    assert {tuple(row) for row in found.test.to_numpy().tolist()}.isdisjoint(
        tuple(row) for row in found.train.drop(columns="target").to_numpy().tolist()
    )


def test_answers_are_refused_if_they_are_too_few_or_not_finite(script) -> None:
    task, rows = TableTask("diabetes"), script("_automl_rows")
    answers = truth(task)
    for wrong in (answers[:-1], np.where(np.arange(len(answers)) == 3, np.nan, answers)):
        with pytest.raises(rows.VariorumError, match="finite ones to"):
            rows.scored(task, wrong)


def test_a_forecast_put_as_a_table_looks_at_nothing_that_is_to_come(script) -> None:
    """Whatever stands at a forecast's first step or later, its rows are the same; earlier values do count."""
    flaml, facts = script("_automl_flaml"), script("_automl_given").Facts
    asked = facts("series", horizon=12, season=6, cycles=(6, 42), origins=(150,))
    known = pd.DataFrame({"time": pd.date_range("2020-01-01", periods=200, freq="h"), "target": np.arange(200.0)})
    origins, later, earlier = np.array([150]), known.copy(), known.copy()
    later.loc[150:, "target"] = -1e6
    earlier.loc[149, "target"] = -1e6
    table = flaml.past(known, origins, asked)
    pd.testing.assert_frame_equal(table, flaml.past(later, origins, asked))
    assert not table.equals(flaml.past(earlier, origins, asked))
    assert len(table) == 12 and not table.isna().any().any()
    np.testing.assert_array_equal(table["minute"], known["time"][150:162].dt.hour * 60)


def verdicts(module: ModuleType, ours: np.ndarray, others: dict[str, np.ndarray], *, higher: bool):
    """What is found of these scores by row."""
    on = module.OnSet("made", "a set", "score", higher, len(ours), 1.0, "today")
    on.tools = [module.Found(name, "1.0", 60.0, chosen="it") for name in ("variorum", *others)]
    on.tools.append(module.Found("broken", "1.0", 5.0, failed="ended with code 1: no | memory"))
    on.judge("variorum", {name: Scores(s, np.ones_like(s)) for name, s in {"variorum": ours, **others}.items()})
    return on


@pytest.mark.parametrize("higher", [True, False])
def test_verdicts_follow_from_paired_scores(higher: bool, script) -> None:
    """Rows that differ by 0.1 throughout are told apart though the scores vary by far more; noise is not."""
    module, rng = script("_automl_verdict"), np.random.default_rng(0)
    ours = rng.normal(size=400)
    others = {
        "above": ours + 0.1 + 0.01 * rng.normal(size=400),
        "below": ours - 0.1,
        "alike": ours + rng.normal(size=400) * 0.1,
    }
    on = verdicts(module, ours, others, higher=higher)
    said = {d.tool: d.verdict(higher_is_better=higher) for d in on.differences}
    assert said["above"] == ("worse" if higher else "better") and said["below"] == ("better" if higher else "worse")
    assert said["alike"] == module.AS_GOOD
    assert module.OnSet.from_dict(json.loads(json.dumps(on.to_dict()))) == on
    page = "\n".join(module.tables([on.to_dict()], ours="variorum"))
    assert f"ours {on.differences[1].mean:+.4f}" in page and "failed: ended with code 1: no / memory" in page
    assert "beside broken, ours is, of 0 sets" in page
    better = "below" if higher else "above"
    assert f"beside {better}, ours is, of 1 sets: 1 better, 0 {module.AS_GOOD}, 0 worse." in page


def test_a_tool_that_fails_or_does_not_end_is_told(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = script("_automl_tools")
    monkeypatch.setattr(tools, "GRACE", 0.5)
    broken = tools._run(
        [sys.executable, "-c", "raise SystemExit('no /a/folder/file, 1/2 of it')"], tmp_path, 5.0, env={}
    )
    assert broken.failed == "ended with code 1: no file, 1/2 of it"
    late = tools._run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, 0.1, env={})
    assert late.failed is not None and "had not ended" in late.failed and late.seconds < 30
    assert tools._run([sys.executable, "-c", "pass"], tmp_path, 5.0, env={}).failed is None


def test_environments_of_peers_are_pinned_exactly_and_hold_the_torch_of_the_project(script) -> None:
    tools = script("_automl_tools")
    for peer in tools.PEERS.values():
        lines = [line for line in peer.pins.read_text("utf-8").splitlines() if not line.startswith("#")]
        assert lines and all(re.fullmatch(r"[\w.\-]+==[\w.+!]+", line) for line in lines)
        assert peer.version and peer.runner.exists()
        assert [line for line in lines if line.startswith("torch==")] in ([], ["torch==2.13.0"])
        assert not [line for line in lines if line.startswith(("nvidia", "triton", "variorum"))]


@pytest.mark.slow
def test_a_quick_run_writes_its_results_and_the_page(tmp_path: Path) -> None:
    """Ours alone, on digits, through its own command: the score on the page is that of the run's record."""
    page = tmp_path / "page.md"
    told = ["--quick", "--systems", "cct", "--results", str(tmp_path), "--page", str(page), "--cache", str(tmp_path)]
    subprocess.run([sys.executable, str(FOLDER / "automl.py"), *told], check=True)
    on = json.loads((tmp_path / "automl.json").read_text("utf-8"))["sets"][0]
    found = on["tools"][0]
    assert found["tool"] == "variorum" and found["low"] < found["mean"] < found["high"] and found["mean"] > 0.5
    run = json.loads((tmp_path / "runs" / "digits" / "variorum" / "run" / "run.json").read_text("utf-8"))
    assert found["chosen"] in {result["name"] for result in run["results"] if result["state"] == "finished"}
    text = page.read_text("utf-8")
    for said in ("A quick run", "only these systems took part: cct", f"**{found['mean']:.4f} (", found["chosen"]):
        assert said in text, said
