"""A comparison from beginning to end, its workers run in this process so that it takes seconds."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

import variorum
from variorum.compare import candidates as taking_part
from variorum.compare import compare, finals, latency, process, worker
from variorum.compare.beginning import LOCK
from variorum.compare.insisting import DEATHS
from variorum.compare.job import Job
from variorum.compare.limits import Limits
from variorum.compare.live import Quiet
from variorum.compare.match import Match
from variorum.compare.process import End
from variorum.compare.record import Record
from variorum.compare.result import State
from variorum.compare.storage import StorageLost
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
            if work is worker.show:
                worker.show(folder, told)
                return 0, End.ITSELF
            searching = folder.parent.name == "candidates"
            name = folder.name if searching else f"{folder.parents[1].name}, seed {folder.name}"
            self.started.append(name)
            fault = self.faults.get(name)
            if isinstance(fault, BaseException):
                raise fault
            if fault is not None:
                return fault
            threads = torch.get_num_threads()
            work(folder, told)
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
    monkeypatch.setattr(latency, "footprints", lambda bundles, inputs: dict.fromkeys(bundles, 1.0).items())
    monkeypatch.setattr(taking_part, "entries", dict)
    return found


def job(table: Path, **more: Any) -> Job:
    by_steps = {"steps": 12, "match": Match.STEPS, "minutes": 60.0}
    return Job(str(table), **{"question": Question(target="y"), "workers": 2, **by_steps, **more})


def test_everything_that_is_promised_is_there(table: Path, tmp_path: Path, here: Here) -> None:
    results = compare(table, target="y", minutes=0.5, out=tmp_path / "out", quiet=True)
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
    here.faults["gradient-boosting"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(job(table, workers=1), out, Quiet())
    kept = Record.read(out)
    assert kept is not None
    assert kept.results["linear"].finished
    assert kept.results["gradient-boosting"].state is State.WAITING
    assert "Repeat the command to go on" in (out / "report.html").read_text("utf-8")
    assert variorum.load(out / "winner")
    here.faults.clear()
    here.started.clear()
    record = run(job(table, workers=1), out, Quiet())
    assert "gradient-boosting" in here.started and "linear" not in here.started, "what was finished is not repeated"
    assert all(result.finished and result.interleaved for result in record.results.values())
    assert record.results["linear"].valid == kept.results["linear"].valid
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
        job(table, minutes=0.01, steps=None, match=Match.TIME),
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


def test_the_best_are_trained_with_three_seeds(table: Path, tmp_path: Path, here: Here) -> None:
    record = run(job(table), tmp_path / "out", Quiet())
    assert all(r.finalist and r.seeds == 3 for r in record.finished)
    name = record.finished[0].name
    assert {f"{name}, seed {seed}" for seed in range(3)} <= set(here.started)
    means = [worker.read_scores(finals.folder(record, name, seed)).mean for seed in range(3)]
    assert record.results[name].quality == pytest.approx(np.mean(means))
    assert record.results[name].spread == pytest.approx(np.std(means, ddof=1))
    assert "3 seeds" in (record.results[name].interval or "")


def test_a_final_that_fails_leaves_the_others(table: Path, tmp_path: Path, here: Here) -> None:
    here.faults["linear, seed 1"] = (3, End.ITSELF)
    record = run(job(table), tmp_path / "out", Quiet())
    assert record.results["linear"].finished and record.results["linear"].seeds == 2
    assert any("linear, seed 1, did not come to its end" in note for note in record.notes)


def test_a_process_that_is_killed_is_started_again_but_not_for_ever(table: Path, tmp_path: Path, here: Here) -> None:
    here.faults["linear"] = (-9, End.ITSELF)
    run(job(table), tmp_path / "out", Quiet())
    assert here.started.count("linear") == DEATHS


def test_one_over_a_limit_is_out_and_does_not_win(table: Path, tmp_path: Path, here: Here) -> None:
    record = run(job(table, limits=Limits(size_bytes=4000)), tmp_path / "out", Quiet())
    out = record.results["nearest-neighbours"]
    assert out.state is State.OUT and (out.over or "").endswith("over the limit of 4 kB")
    assert "linear" in {result.name for result in record.finished}
    assert (tmp_path / "out" / "winner").exists()


def test_a_full_disk_stops_all_and_the_same_command_goes_on(
    table: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = tmp_path / "out", here.run

    def full(work: process.Work, folder: Path, *, told: Any, **rest: Any) -> tuple[int, End]:
        if folder.name == "linear":
            told({"lost": "OSError: no space left on device"})
            return 1, End.ITSELF
        return before(work, folder, told=told, **rest)

    monkeypatch.setattr(process, "run", full)
    with pytest.raises(StorageLost, match=r"no space left.*repeat the command"):
        run(job(table, workers=1), out, Quiet())
    monkeypatch.setattr(process, "run", before)
    record = run(job(table, workers=1), out, Quiet())
    assert all(result.finished for result in record.results.values())


def test_two_do_not_work_in_one_folder(table: Path, tmp_path: Path, here: Here) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / LOCK), pytest.raises(VariorumError, match="no other comparison"):
        run(job(table), out, Quiet())


def test_by_steps_the_same_command_finds_the_same(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Here()
    monkeypatch.setattr(process, "run", found.run)
    monkeypatch.setattr(latency, "footprints", lambda bundles, inputs: dict.fromkeys(bundles, 1.0).items())
    asked = job(table, systems=("turner-introduction",))
    first, second = (run(asked, tmp_path / name, Quiet()) for name in "ab")
    for name, result in first.results.items():
        assert result.finished, result.error
        assert result.quality == second.results[name].quality
        assert result.chosen == second.results[name].chosen and result.trials == second.results[name].trials


@pytest.mark.slow
def test_a_real_run_in_processes_obeys_its_minutes(table: Path, tmp_path: Path) -> None:
    results = compare(table, target="y", systems=[], minutes=2.0, out=tmp_path / "out", quiet=True)
    frame = results.frame
    assert (frame["state"] == "finished").all(), frame["error"].to_list()
    assert frame["interleaved"].all() and (frame["memory_mb"] >= 0).all(), results.record.notes
    assert json.loads((tmp_path / "out" / "run.json").read_text())["elapsed_seconds"] < 132
