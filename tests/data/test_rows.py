"""Tables on disk give the same numbers as tables in memory."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data import frames, rows, table
from variorum.data.frames import open_rows, read_table
from variorum.data.kinds import choose
from variorum.data.rows import InMemory, OnDisk
from variorum.data.table import TableTask, encode_rows


@pytest.fixture(autouse=True)
def pieces_of_seven_rows(monkeypatch):
    for module in (frames, rows, table):
        monkeypatch.setattr(module, "PIECE", 7)


def people(count=120):
    draw = np.random.default_rng(0)
    words = ["late", "broken", "fine", "quick", "slow", "lost", "blue", "red"]
    return pd.DataFrame({
        "id": np.arange(count),
        "age": np.where(draw.random(count) < 0.1, np.nan, draw.integers(18, 90, count)),
        "late gaps": np.where(np.arange(count) < 100, draw.integers(5, size=count), np.nan),
        "town": draw.choice(["Bonn", "Ulm", "Köln"], count),
        "mixed": [str(i % 5) if i < 90 else "?" for i in range(count)],
        "truth": [None if i % 11 == 10 else bool(i % 3) for i in range(count)],
        "joined": pd.date_range("2020-01-01", periods=count, freq="9D").astype(str),
        "note": [" ".join(draw.choice(words, 6)) + f"\nnumber {i}" for i in range(count)],
        "price": [f"{v:.2f}".replace(".", ",") for v in draw.normal(50, 9, count)],
        "made": [f"{v:,}".replace(",", ".") for v in draw.integers(100, 9000, count)],
        "kind": [None if i in (3, 50) else k for i, k in enumerate(draw.choice(["x", "y"], count))],
        "wage": draw.normal(3000, 400, count),
    })  # fmt: skip


def write(frame: pd.DataFrame, path: Path) -> str:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".tsv":
        path.write_bytes(frame.to_csv(index=False, sep=";").encode("utf-16"))
    elif path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=17)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    else:
        made = pa.Table.from_pandas(frame)
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, made.schema) as stream:
            stream.write_table(made)
    return str(path)


@pytest.mark.parametrize("target", ["kind", "wage"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".feather", ".arrow"])
def test_a_task_on_disk_is_the_task_in_memory(tmp_path, suffix, target):
    path = write(people(), tmp_path / f"t{suffix}")
    here, there = (TableTask(path, target=target, memory=memory) for memory in (1 << 30, 1))
    assert here.preprocess == there.preprocess and here.labels == there.labels
    assert "read in pieces from disk" in there.notes[0] and there.notes[1:] == here.notes
    assert isinstance(encode_rows(open_rows(path, memory=1)[0], there.preprocess.build())[0], np.memmap)
    for split in ("train", "valid", "test"):
        for a, b in zip(here.arrays(split), there.arrays(split), strict=True):
            np.testing.assert_array_equal(a, b)
    one, two = here.batch(3, 16, 0), there.batch(3, 16, 0)
    np.testing.assert_array_equal(one.inputs["inputs"].numpy(), two.inputs["inputs"].numpy())


def test_the_temporary_files_go_with_the_task(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    task = TableTask(write(people(), tmp_path / "t.csv"), target="wage", memory=1)
    kept = sorted(str(p.relative_to(tmp_path / "t")).split(os.sep)[-1] for p in (tmp_path / "t").rglob("*.*"))
    assert kept == ["rows.float32"], "what was read is gone once it is encoded"
    del task
    assert not list((tmp_path / "t").iterdir())


def test_a_column_at_a_time_and_only_what_is_kept(tmp_path):
    found, said = open_rows(write(people(), tmp_path / "t.parquet"), memory=1)
    assert isinstance(found, OnDisk) and "read in pieces" in said[0] and len(found) == 120
    mask = np.arange(120) % 2 == 0
    half = found.kept(mask).kept(np.arange(60) >= 30)
    assert len(half) == 30 and half.column("id").tolist() == list(range(60, 120, 2))
    assert pd.concat(half.pieces(7))["id"].tolist() == list(range(60, 120, 2))


FIELDS = st.sampled_from(
    ["", "1", "2.5", "-3", "True", "false", "x", "é", "2020-01-01", "?", "1,5", "9999999999999999999", '"a\nb"']
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 3).flatmap(lambda w: st.lists(st.lists(FIELDS, min_size=w, max_size=w), min_size=1, max_size=25)))
def test_any_text_file_has_the_same_columns_on_disk(tmp_path, records):
    path = tmp_path / "t.csv"
    names = ["a", "b", "c"][: len(records[0])]
    path.write_text("\n".join(";".join(fields) for fields in [names, *records]) + "\n", encoding="utf-8")
    try:
        frame, notes = read_table(path)
    except VariorumError as error:
        with pytest.raises(VariorumError) as again:
            open_rows(path, memory=1)
        assert str(again.value) == str(error)
        return
    found, said = open_rows(path, memory=1)
    assert said[1:] == notes and found.names == tuple(frame.columns) and len(found) == len(frame)
    for name in frame.columns:
        ours, theirs = choose(InMemory(frame).column(name)), choose(found.column(name))
        assert ours[0] == theirs[0]
        if ours[0] is not None:
            encoded = np.concatenate([ours[0].build().encode(piece[name]) for piece in found.pieces(7)])
            np.testing.assert_array_equal(encoded, ours[0].build().encode(frame[name]))
