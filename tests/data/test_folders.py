"""Folders by class, whatever is in them: which files are read, and what is said of the rest."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.draw import as_given
from variorum.data.folders import by_class, given_files, shown
from variorum.data.question import Question
from variorum.data.readers.reader import detect, load_task

many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def texts(folder, classes=("bad", "good"), each=8, start=0):
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + each):
            (folder / name / f"{i}.txt").write_text(f"number {i} is a {name} text of some words")
    return folder


def said(task):
    return " ".join(task.notes)


def test_class_folders_of_texts_are_labelled_texts_unless_a_text_is_asked_for(tmp_path):
    texts(tmp_path)
    task = load_task(tmp_path)
    assert task.reads == "labelled texts" and task.labels == ("bad", "good") and len(task.rows) == 16
    assert "16 texts of 2 classes, by folder; --reads text reads all of them as one text" in said(task)
    assert load_task(tmp_path, Question(reads="text")).reads == "text"
    opened = task.preprocess.build().open(tmp_path / "good")
    assert opened["text"].tolist()[0] == "number 0 is a good text of some words" and opened.index[0].endswith("0.txt")
    (tmp_path / "preface.txt").write_text("a text beside the folders: these are chapters")
    assert detect(tmp_path).reads == "text"


def test_given_splits_are_kept_and_said(tmp_path):
    texts(tmp_path / "train")
    texts(tmp_path / "test", each=3, start=100)
    task = load_task(tmp_path)
    assert "The split of the folders is kept: train/ (16) is to train on, test/ (6) is to test on; a quarter" in said(
        task
    )
    assert task.parts.test.tolist() == [16, 17, 18, 19, 20, 21] and len(task.parts.valid) == 4
    texts(tmp_path / "val", each=2, start=200)
    task = load_task(tmp_path)
    assert len(task.parts.train) == 16 and len(task.parts.valid) == 4 and "val/ (4) is to choose on" in said(task)
    texts(tmp_path / "test", classes=("ugly",))
    with pytest.raises(
        VariorumError, match="the same classes as in the folder to train on, found 'ugly' in test alone"
    ):
        load_task(tmp_path)


def test_parts_without_classes_are_no_classes(tmp_path):
    with pytest.raises(VariorumError, match="parts of a split, without classes: test, train"):
        by_class(texts(tmp_path, classes=("train", "test")), {".txt"}, "texts")


def test_empty_folders_and_loops_are_passed_over(tmp_path):
    texts(tmp_path)
    (tmp_path / "empty").mkdir()
    os.symlink(tmp_path / "good" / "x.txt", tmp_path / "good" / "x.txt")
    os.symlink(tmp_path, tmp_path / "loop")
    found = by_class(tmp_path, {".txt"}, "texts")
    assert len(found.files) == 16 and found.notes == ("Folders without texts are no classes: 'empty', 'loop'.",)


@pytest.mark.parametrize("reads", ["images", "sounds", "point clouds", "table", "text", "labelled texts", "text pairs"])
def test_what_is_not_there_or_a_folder_of_nothing_is_told(tmp_path, reads):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(VariorumError):
            load_task(path, Question(reads=reads))


def test_names_that_are_no_utf8(tmp_path):
    texts(tmp_path)
    os.rename(tmp_path / "good" / "1.txt", os.fsencode(tmp_path / "good") + b"/\xff.txt")
    assert len(load_task(tmp_path).rows) == 16
    assert shown(given_files(tmp_path / "good", {".txt"}, one="a text", what="texts")[-1]).endswith("\\udcff.txt")
    os.rename(tmp_path / "good", os.fsencode(tmp_path) + b"/\xff")
    with pytest.raises(VariorumError, match="names of classes in UTF-8"):
        load_task(tmp_path)


@many
@given(strata=st.lists(st.integers(0, 3), min_size=1, max_size=30), data=st.data())
def test_a_given_split_is_kept(strata, data):
    told = data.draw(st.lists(st.sampled_from(["train", "valid", "test"]), min_size=len(strata), max_size=len(strata)))
    parts = as_given(np.array(strata), told, 0)
    assert sorted([*parts.train, *parts.valid, *parts.test]) == list(range(len(strata)))
    assert parts.test.tolist() == [i for i, part in enumerate(told) if part == "test"]
    if "valid" in told:
        assert parts.train.tolist() == [i for i, part in enumerate(told) if part == "train"]
