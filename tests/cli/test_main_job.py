"""The main job by its own command, in real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

COMMAND = [sys.executable, "-c", "from variorum.cli import main; main()"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*words: object, seconds: float = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=seconds, env=ONE_THREAD)


@pytest.mark.slow
def test_compare_then_predict_and_export_the_winner(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("compare", "digits", "--systems", "cct", "--minutes", "1.5", "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "run.json").read_text())["elapsed_seconds"] <= 99, "at most ten percent over"
    assert "Traceback" not in done.stderr
    assert "Use " in done.stdout and str(out / "report.html") in done.stdout
    frame = pd.read_csv(out / "results.csv", index_col="name")
    assert set(frame.index) == {"linear", "nearest-neighbours", "small-cnn", "cct"}
    assert (frame["state"] == "finished").all(), frame["error"].to_list()
    assert frame["quality"].max() > 0.9
    exported = run("export", out / "winner", "--to", "onnx")
    assert exported.returncode == 0, exported.stderr
    assert (out / "winner.onnx").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are not there")
def test_ctrl_c_keeps_what_is_finished_ends_with_130_and_can_be_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [*COMMAND, "compare", "digits", "--systems", "cct", "--minutes", "3", "--workers", "1", "--out", str(out)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    assert child.stdout is not None
    for line in child.stdout:
        if "small-cnn: runs" in line:
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    frame = pd.read_csv(out / "results.csv", index_col="name")
    brief = {"linear": "finished", "nearest-neighbours": "finished"}
    assert frame["state"].to_dict() == {**brief, "small-cnn": "waiting", "cct": "waiting"}
    assert (out / "report.html").exists() and (out / "winner" / "bundle.json").exists()
    before = frame.loc["linear", "quality"]
    resumed = run(
        "compare", "digits", "--systems", "cct", "--minutes", "3", "--workers", "1", "--out", out, seconds=300
    )
    assert resumed.returncode == 0, resumed.stderr
    after = pd.read_csv(out / "results.csv", index_col="name")
    assert (after["state"] == "finished").all(), after["error"].to_list()
    assert after.loc["linear", "quality"] == before
