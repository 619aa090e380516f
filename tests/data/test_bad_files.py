"""Files that are not what their names say, or hold what nobody expects: an error, or a repair that is said."""

import json
import warnings
import zipfile
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import feather, parquet

from variorum.core import VariorumError
from variorum.data.frames import read_table
from variorum.data.images import ImageTask
from variorum.data.npz import read_npz
from variorum.data.question import Question
from variorum.data.readers.reader import load_task
from variorum.data.table import TableTask
from variorum.data.text import TextTask

many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def pictures(folder, classes=("cat", "dog"), each=12):
    draw = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(draw.integers(0, 255, (12, 12), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def said(task):
    return " ".join(task.notes)


def test_what_is_done_to_images_is_said(tmp_path):
    pictures(tmp_path)
    draw = np.random.default_rng(1)
    some = [Image.fromarray(draw.integers(0, 255, (9, 9, 4), dtype=np.uint8)) for _ in range(4)]
    some[0].save(tmp_path / "cat" / "alpha.png")
    some[1].convert("RGB").save(tmp_path / "cat" / "many.gif", save_all=True, append_images=[some[2].convert("RGB")])
    Image.fromarray(draw.integers(0, 60_000, (9, 9), dtype=np.uint16)).save(tmp_path / "cat" / "deep.png")
    notes = said(ImageTask(str(tmp_path)))
    for note in ("1 images of several frames", "1 images with transparency", "1 images of more than 8 bits"):
        assert note in notes


def test_copies_of_images_are_left_out(tmp_path):
    pictures(tmp_path)
    first = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "copy.png").write_bytes(first)
    (tmp_path / "dog" / "0.png").write_bytes((tmp_path / "cat" / "1.png").read_bytes())
    task = ImageTask(str(tmp_path))
    assert len(task.arrays("train")[1]) + len(task.parts.valid) + len(task.parts.test) == 22
    assert "1 images that are copies of others" in said(task) and "2 images that stand in several classes" in said(task)


def test_a_given_split_of_images_is_kept(tmp_path):
    pictures(tmp_path / "train")
    for part, shade in (("val", 9), ("test", 90)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(3):
                Image.new("L", (8, 8), shade + 3 * i + (name == "dog")).save(tmp_path / part / name / f"{i}.png")
    task = load_task(tmp_path)
    assert len(task.parts.train) == 24 and len(task.parts.valid) == len(task.parts.test) == 6
    assert task.arrays("test")[1].tolist() == [0, 0, 0, 1, 1, 1]


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file, file.open("X.npy", "w") as inside:
        np.lib.format.write_array_header_1_0(
            inside, {"descr": "<f8", "fortran_order": False, "shape": (40, 1, 1 << 20)}
        )
        for _ in range(40):
            inside.write(bytes(1 << 23))
    with pytest.raises(VariorumError, match="100 times the file"):
        read_npz(tmp_path / "a.npz", {"X"})


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_look_at_a_ragged_file_says_nothing_and_reading_names_the_line(tmp_path, name):
    (tmp_path / name).write_text("a,y\n" + "1,2,3\n" * 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(VariorumError, match="line 2: expected 2 fields"):
            load_task(tmp_path / name, Question(target="y"))


def test_far_too_many_columns_are_told_at_once(tmp_path):
    (tmp_path / "t.csv").write_text("a," * 300_000)
    with pytest.raises(VariorumError, match="at most 100,000 columns, found 300,001"):
        read_table(tmp_path / "t.csv")


def test_columns_of_parquet_that_are_no_plain_values(tmp_path):
    n = 60
    table = {
        "a": np.random.default_rng(0).normal(size=n), "y": ["n", "p"] * 30,
        "raw": [bytes([i % 3, 255]) for i in range(n)], "inner": [{"q": i} for i in range(n)],
        "list": [[i] for i in range(n)], "price": [Decimal(i * 37 % 59) for i in range(n)],
    }  # fmt: skip
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    task = TableTask(str(tmp_path / "t.parquet"), target="y")
    assert "'raw' is left out: it holds raw bytes" in said(task) and task.facts["columns"] == (0, 0)
    assert "'inner' is left out: it holds lists or other nested" in said(task) and "'list' is left out" in said(task)
    assert TableTask(str(tmp_path / "t.parquet"), target="price").writes == "value"
    feather.write_feather(pa.table({"a": [1], " a": [2]}), tmp_path / "t.feather")
    with pytest.raises(VariorumError, match="'a' repeated"):
        load_task(tmp_path / "t.feather", Question(target="a"))


@many
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "c"]), st.none() | st.booleans() | st.integers() | st.text(st.characters()),
            min_size=1,
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_json_lines_come_through_or_repairs_are_said(tmp_path, rows):
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    frame, notes = read_table(tmp_path / "t.jsonl")
    halves = sum(
        any(isinstance(v, str) and any("\ud800" <= c <= "\udfff" for c in v) for v in row.values()) for row in rows
    )
    assert len(frame) == len(rows) and bool(notes) == bool(halves)
    for row, found in zip(rows, frame.to_dict("records"), strict=True):
        for name, value in row.items():
            if isinstance(value, str) and value.isascii():
                assert found[name] == value


def test_frames_with_names_that_are_no_texts_or_repeated():
    made = pd.DataFrame({0: np.arange(40.0) ** 2, 1: ["n", "p"] * 20})
    task = TableTask("t", target="1", frame=made)
    reader = task.preprocess.build()
    np.testing.assert_array_equal(reader.encode(reader.open(made))[task.parts.test], task.arrays("test")[0])
    with pytest.raises(VariorumError, match="'0' repeated"):
        TableTask("t", target="1", frame=pd.concat([made, made[[0]]], axis=1))


@pytest.mark.parametrize(
    ("raw", "note"),
    [
        (b"a\0b" * 500, "holds zero bytes"),
        ("é".encode("latin-1") * 2000, "is not in UTF-8"),
        (b"\xef\xbb\xbf" + b"text " * 500, "begins with the mark of UTF-8"),
    ],
)
def test_texts_that_are_odd_are_read_as_bytes_and_said(tmp_path, raw, note):
    (tmp_path / "a.txt").write_bytes(raw)
    task = TextTask(str(tmp_path / "a.txt"))
    assert note in said(task) and np.concatenate([task.symbols(p) for p in ("train", "valid", "test")]).tobytes() == raw


def test_texts_of_wide_characters_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(("text " * 500).encode("utf-16"))
    with pytest.raises(VariorumError, match="expected text in UTF-8, found the mark of UTF-16"):
        load_task(tmp_path / "a.txt")
