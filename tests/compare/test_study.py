"""A comparison from beginning to end, its workers run in this process so that it takes seconds."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import variorum
from variorum.compare import candidates as taking_part
from variorum.compare import compare, latency, process, worker
from variorum.compare.job import Job
from variorum.compare.live import Quiet
from variorum.compare.process import End
from variorum.compare.record import Record
from variorum.compare.result import State
from variorum.compare.study import run
from variorum.core import VariorumError
from variorum.data.question import Question


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(240, 3))
    label = np.where(x[:, 0] + 0.3 * draw.normal(size=240) > 0, "yes", "no")
    path = tmp_path / "some data.csv"
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": label}).to_csv(path, index=False)
    return path


class Here:
    """Stands in for processes: runs the same functions in this one, one at a time. ``faults``: what befalls whom."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.faults: dict[str, Any] = {}
        self.turn = threading.Lock()

    def run(self, work: process.Work, folder: Path, *, told: Any, **rest: Any) -> tuple[int, End]:
        with self.turn:
            if work is latency.last_pass:
                return self._last(folder, told)
            self.started.append(folder.name)
            fault = self.faults.get(folder.name)
            if isinstance(fault, BaseException):
                raise fault
            if fault is not None:
                return fault
            threads = torch.get_num_threads()
            worker.work(folder, told)
            torch.set_num_threads(threads)
            return 0, End.ITSELF

    def _last(self, folder: Path, told: Any) -> tuple[int, End]:
        if "last" in self.faults:
            return self.faults["last"]
        latency.last_pass(folder, told)
        return 0, End.ITSELF


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """Only the baselines take part, and memory is not measured in processes of its own."""
    found = Here()
    monkeypatch.setattr(process, "run", found.run)
    monkeypatch.setattr(latency, "footprints", lambda bundles, inputs: dict.fromkeys(bundles, 1.0))
    monkeypatch.setattr(taking_part, "entries", dict)
    return found


def job(table: Path, **more: Any) -> Job:
    return Job(str(table), **{"question": Question(target="y"), "minutes": 1.0, "workers": 2, **more})


def test_everything_that_is_promised_is_there(table: Path, tmp_path: Path, here: Here) -> None:
    results = compare(table, target="y", minutes=1.0, out=tmp_path / "out", quiet=True)
    frame = results.frame
    assert set(frame.index) == {"gradient-boosting", "linear", "nearest-neighbours"}
    assert (frame["state"] == "finished").all()
    assert (frame["quality"] > 0.8).all()
    assert ((frame["low"] <= frame["quality"]) & (frame["quality"] <= frame["high"])).all()
    for column in (
        "latency_ms",
        "throughput",
        "memory_mb",
        "train_memory_mb",
        "size_bytes",
        "train_seconds",
        "granted_seconds",
    ):
        assert frame[column].notna().all(), column
    assert frame["interleaved"].all()
    assert results.answer.startswith(("Use gradient boosting", "Use a linear model"))
    assert results.winner == tmp_path / "out" / "winner"
    answers = variorum.load(results.winner).predict(str(table))
    known = pd.read_csv(table)["y"]
    assert (answers["prediction"].to_numpy() == known.to_numpy()).mean() > 0.8
    assert "<!doctype html>" in results.report.read_text("utf-8")
    assert list(pd.read_csv(tmp_path / "out" / "results.csv")["name"]) == list(frame.index)


def test_a_crash_is_a_row_with_its_error_and_not_the_end(table: Path, tmp_path: Path, here: Here) -> None:
    here.faults["gradient-boosting"] = (-9, End.ITSELF)
    record = run(job(table), tmp_path / "out", Quiet())
    failed = record.results["gradient-boosting"]
    assert failed.state is State.FAILED
    assert "lack of memory" in (failed.error or "")
    assert record.results["linear"].finished
    assert "lack of memory" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_one_that_does_not_end_is_said_to_be_late(table: Path, tmp_path: Path, here: Here) -> None:
    here.faults["linear"] = (-9, End.LATE)
    record = run(job(table), tmp_path / "out", Quiet())
    assert "did not end within its part of the budget" in (record.results["linear"].error or "")


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(table: Path, tmp_path: Path, here: Here) -> None:
    out = tmp_path / "out"
    here.faults["linear"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(job(table, workers=1), out, Quiet())
    kept = Record.read(out)
    assert kept is not None
    assert kept.results["gradient-boosting"].finished
    assert kept.results["linear"].state is State.WAITING
    assert "Repeat the command to go on" in (out / "report.html").read_text("utf-8")
    assert variorum.load(out / "winner")
    here.faults.clear()
    here.started.clear()
    record = run(job(table, workers=1), out, Quiet())
    assert here.started == ["linear"], "what was finished is not trained again"
    assert all(result.finished and result.interleaved for result in record.results.values())
    assert record.results["gradient-boosting"].quality == kept.results["gradient-boosting"].quality
    assert record.elapsed > kept.elapsed


def test_a_finished_comparison_is_not_run_again(table: Path, tmp_path: Path, here: Here) -> None:
    first = run(job(table), tmp_path / "out", Quiet())
    here.started.clear()
    again = run(job(table), tmp_path / "out", Quiet())
    assert not here.started
    assert again.results == first.results


def test_changed_data_are_another_comparison(table: Path, tmp_path: Path, here: Here) -> None:
    run(job(table), tmp_path / "out", Quiet())
    table.write_text(table.read_text() + "0.5,0.5,0.5,yes\n")
    with pytest.raises(VariorumError, match="content of the data"):
        run(job(table), tmp_path / "out", Quiet())


def test_the_same_seed_gives_the_same_scores_on_the_same_rows(table: Path, tmp_path: Path, here: Here) -> None:
    first, second = (run(job(table), tmp_path / name, Quiet()) for name in "ab")
    for name in ("linear", "gradient-boosting"):
        assert first.results[name].quality == second.results[name].quality
    counts = [worker.read_scores(first.folder(name)).counts for name in ("linear", "gradient-boosting")]
    assert (counts[0] == counts[1]).all()


def test_a_failed_last_pass_leaves_the_latencies_of_each_by_itself(table: Path, tmp_path: Path, here: Here) -> None:
    here.faults["last"] = (-11, End.ITSELF)
    record = run(job(table), tmp_path / "out", Quiet())
    assert all(
        r.finished and r.latency_ms and r.interleaved is False and r.memory_mb is None for r in record.results.values()
    )
    assert "each candidate by itself" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_nothing_is_written_when_the_question_is_wrong(table: Path, tmp_path: Path, here: Here) -> None:
    for wrong in (
        job(table, question=Question(target="z")),
        job(table, systems=("cct",)),
        job(tmp_path / "none.csv"),
        job(table, minutes=0.01),
    ):
        with pytest.raises(VariorumError):
            run(wrong, tmp_path / "out", Quiet())
    assert not (tmp_path / "out").exists()


def test_what_the_brief_ones_leave_is_shared_equally_by_the_rest(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(module: str, folder: Path, **rest: Any) -> tuple[int, End]:
        here.started.append(folder.name)
        return 1, End.ITSELF

    monkeypatch.setattr(process, "run", pretend)
    record = run(Job("digits", minutes=2.0, workers=1), tmp_path / "out", Quiet())
    granted = {name: result.granted_seconds for name, result in record.results.items()}
    assert here.started[0] == "linear"
    assert granted["small-cnn"] > granted["linear"]


@pytest.mark.slow
def test_a_real_run_in_processes_obeys_its_minutes(table: Path, tmp_path: Path) -> None:
    results = compare(table, target="y", systems=[], minutes=2.0, out=tmp_path / "out", quiet=True)
    frame = results.frame
    assert (frame["state"] == "finished").all(), frame["error"].to_list()
    assert frame["interleaved"].all() and (frame["memory_mb"] >= 0).all(), results.record.notes
    assert json.loads((tmp_path / "out" / "run.json").read_text())["elapsed_seconds"] < 132
