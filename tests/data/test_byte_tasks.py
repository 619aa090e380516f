"""Rows of bytes and of pixels: nothing is lost, no text is met in two parts, published files are read."""

from pathlib import Path

import numpy as np
import pytest

from variorum.core import VariorumError
from variorum.data.byte_pairs import byte_rows
from variorum.data.labelled_texts import LabelledTextTask
from variorum.data.matching_files import MatchingFiles, read_matching, write_matching
from variorum.data.pixel_rows import PixelRows, read_cifar, write_cifar
from variorum.data.same_class_pairs import SameClassPairs
from variorum.data.token_rows import Pieces


def test_labelled_texts_are_read_byte_by_byte() -> None:
    task = LabelledTextTask("shakespeare_passages", longest=300, pieces=Pieces.BYTES)
    assert task.facts == {"vocab": 257, "classes": 9, "length": 301}
    assert set(task.rows.lengths) == {301}
    assert any("kinds of bytes" in note for note in task.notes)
    ids = task.rows.ids[1:301]
    assert task.preprocess is not None
    text = task.preprocess.build().tokenizer.decode(ids)
    assert len(text.encode()) == 300 and text.isprintable() is False and " the " in text


def test_bytes_of_pairs_and_their_labels() -> None:
    task = SameClassPairs("shakespeare_passages", longest=80, pairs=2)
    told = [set() for _ in range(3)]
    for known, rows in zip(told, (task.parts.train, task.parts.valid, task.parts.test), strict=True):
        for i in rows.tolist():
            known.update(
                part.ids[part.offsets[i] : part.offsets[i + 1]].tobytes() for part in (task.rows, task.seconds)
            )
        assert abs(task.classes[rows].mean() - 0.5) < 0.01
    assert not told[0] & told[1] and not told[0] & told[2] and not told[1] & told[2]
    batch = task.batch(0, 4, 0)
    assert len(batch.inputs["layout"].lengths) == len(batch.inputs["other_layout"].lengths) == len(batch.targets) == 4
    rows = byte_rows(["né", "abcdef"], 4)
    assert rows.lengths.tolist() == [3, 4] and rows.cut == 1


def test_pairs_go_through_the_published_files(tmp_path: Path) -> None:
    pairs = [(1, "a first\ttext", "a second\ntext"), (0, "one", "two")]
    for part in ("train", "eval", "test"):
        write_matching(tmp_path / f"new_aan_pairs.{part}.tsv", pairs)
    assert read_matching(tmp_path / "new_aan_pairs.test.tsv") == [
        (1, "a first text", "a second text"),
        (0, "one", "two"),
    ]
    assert (tmp_path / "new_aan_pairs.test.tsv").read_text().startswith("1.0\t0a\t0b\ta first text\t")
    task = MatchingFiles(str(tmp_path), longest=6)
    assert task.classes.tolist() == [1, 0] * 3 and bytes(task.rows.ids[:6].astype(np.uint8)) == b"a firs"
    assert "longer than 6 bytes" in task.notes[0]
    (tmp_path / "bad.tsv").write_text("2\ta\tb\tc\td\n")
    with pytest.raises(VariorumError, match="line 1"):
        read_matching(tmp_path / "bad.tsv")
    with pytest.raises(VariorumError, match="a file of pairs"):
        read_matching(tmp_path / "none.tsv")


def test_pixels_of_bundled_images_and_of_records(tmp_path: Path) -> None:
    task = PixelRows("digits", side=16, rows=100)
    assert task.facts == {"vocab": 256, "classes": 10, "length": 256} and len(task.rows) == 100
    assert PixelRows("digits").batch(0, 2, 0).inputs["inputs"].shape == (2, 64)
    draws = np.random.default_rng(0)
    colours = draws.integers(0, 256, (40, 3, 32, 32)).astype(np.uint8)
    write_cifar(tmp_path / "data_batch_1.bin", colours[:30], np.arange(30) % 10)
    write_cifar(tmp_path / "test_batch.bin", colours[30:], np.arange(10))
    images, classes, parts = read_cifar(tmp_path)
    grey = colours[3, 0] * 0.2989 + colours[3, 1] * 0.587 + colours[3, 2] * 0.114
    assert np.abs(images[3] - grey).max() <= 0.51 and classes[:12].tolist() == [*range(10), 0, 1]
    assert parts == ["train"] * 30 + ["test"] * 10
    records = PixelRows(str(tmp_path))
    assert len(records.parts.test) == 10 and records.labels[0] == "airplane" and records.length == 1024
    (tmp_path / "test_batch.bin").write_bytes(b"\0" * 100)
    with pytest.raises(VariorumError, match="records of 3073"):
        read_cifar(tmp_path)
    with pytest.raises(VariorumError, match="bundled set of images"):
        PixelRows("no-such-set")
