"""The run folder: read back as written, whole at every moment, and never mixed with another comparison."""

import json
import threading
from pathlib import Path

import pandas as pd
import pytest

from compare.made import record, result
from variorum.compare import atomic
from variorum.compare.record import Record
from variorum.compare.result import State
from variorum.core import VariorumError
from variorum.data.question import Question


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = record(
        tmp_path, [result("cct", 0.9), result("linear", 0.8, baseline=True), result("x", None, state=State.WAITING)]
    )
    made.flops = 7.5e12
    made.write()
    again = Record.read(tmp_path)
    assert again is not None
    assert again == made
    assert [c.name for c in again.waiting] == ["x"]


def test_the_table_is_a_csv_in_the_order_of_the_scores(tmp_path: Path) -> None:
    record(
        tmp_path, [result("a", None, state=State.FAILED, error='it, "broke"\nhere'), result("b", 0.8), result("c", 0.9)]
    ).write()
    frame = pd.read_csv(tmp_path / "results.csv")
    assert list(frame["name"]) == ["c", "b", "a"]
    assert frame["error"][2] == 'it, "broke"\nhere'


def test_lower_is_better_turns_the_order_and_equal_scores_go_to_the_faster(tmp_path: Path) -> None:
    slow, quick, worse = result("slow", 0.1), result("zquick", 0.1, latency_ms=0.2), result("worse", 0.3)
    assert [r.name for r in record(tmp_path, [worse, slow, quick], higher_is_better=False).ordered] == [
        "zquick",
        "slow",
        "worse",
    ]


@pytest.mark.parametrize(
    ("change", "word"),
    [({"seed": 3}, "seed"), ({"minutes": 9.0}, "minutes"), ({"question": Question(target="y")}, "question")],
)
def test_another_comparison_in_the_folder_is_refused(tmp_path: Path, change: dict[str, object], word: str) -> None:
    made = record(tmp_path, [result("cct", 0.9)])
    other = type(made.job)(**{**vars(made.job), **change})
    with pytest.raises(VariorumError, match=rf"{word}.*choose another --out"):
        made.check_same(other, made.data)
    with pytest.raises(VariorumError, match="content of the data"):
        made.check_same(made.job, {**made.data, "fingerprint": "other"})
    made.check_same(made.job, made.data)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "job": {}}'])
def test_a_broken_run_file_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(VariorumError, match=r"run\.json"):
        Record.read(tmp_path)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, done, faults = tmp_path / "run.json", threading.Event(), []
    atomic.write(path, json.dumps(["0"]))

    def read() -> None:
        while not done.is_set():
            try:
                assert len(set(json.loads(path.read_text()))) == 1
            except (ValueError, OSError, AssertionError) as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        atomic.write(path, json.dumps([str(number)] * 5000))
    done.set()
    reader.join()
    assert not faults
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_copied_folder_replaces_the_old_one_wholly(tmp_path: Path) -> None:
    (source := tmp_path / "a").mkdir()
    (source / "new.txt").write_text("new")
    (target := tmp_path / "winner").mkdir()
    (target / "old.txt").write_text("old")
    atomic.copy_folder(source, target)
    assert [p.name for p in target.iterdir()] == ["new.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "winner"]
