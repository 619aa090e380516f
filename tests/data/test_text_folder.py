"""A folder of texts as one text, read from the disk where it is needed."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samples.pictures import write_digits
from variorum.core import VariorumError
from variorum.data import joined as joined_module
from variorum.data.joined import SEPARATOR, Joined
from variorum.data.readers.reader import detect, load_task
from variorum.data.text import TextTask


def folder(path, texts):
    for name, text in texts.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(text)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=6), data=st.data())
def test_places_in_files_are_places_in_the_whole(tmp_path, texts, data):
    paths = []
    for i, text in enumerate(texts):
        paths.append(tmp_path / f"{i}.txt")
        paths[-1].write_bytes(text)
    whole, found = SEPARATOR.join(texts), Joined(paths)
    assert len(found) == len(whole)
    a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    assert found[a:b].tobytes() == whole[a:b]
    n = data.draw(st.integers(1, len(whole)))
    firsts = np.arange(len(whole) - n + 1)
    assert [row.tobytes() for row in found.rows(firsts, n)] == [whole[i : i + n] for i in firsts]


@pytest.mark.parametrize("level", ["byte", "char"])
def test_a_folder_is_its_files_in_the_order_of_their_names(tmp_path, level):
    texts = {f"{i:02}.txt": bytes(97 + (i * j) % 26 for j in range(200)) for i in range(12)}
    folder(tmp_path, {**texts, "sub/a.md": b"zz" * 50, ".hidden.txt": b"no", "empty.txt": b"", "x.bin": b"\x00"})
    (tmp_path.parent / "whole").write_bytes(SEPARATOR.join([*texts.values(), b"zz" * 50]))
    apart, whole = (TextTask(str(p), length=30, level=level) for p in (tmp_path, tmp_path.parent / "whole"))
    assert apart.bounds == whole.bounds and apart.notes == ("13 files, read as one text in the order of their names.",)
    for a, b in zip(apart.held_out("test", 3), whole.held_out("test", 3), strict=True):
        assert torch.equal(a.inputs["inputs"], b.inputs["inputs"]) and torch.equal(a.targets, b.targets)
    for step in range(5):
        a, b = apart.batch(step, 8, 1), whole.batch(step, 8, 1)
        assert torch.equal(a.inputs["inputs"], b.inputs["inputs"]) and torch.equal(a.targets, b.targets)
    assert (apart.symbols("train") == whole.symbols("train")).all()


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(joined_module, "OPEN", 3)
    folder(tmp_path, {f"{i}.txt": b"abcdefgh" for i in range(10)})
    found = Joined(sorted(tmp_path.iterdir()))
    assert found[0 : len(found)].tobytes() == SEPARATOR.join([b"abcdefgh"] * 10) and len(found._open) == 3


def test_a_file_that_changes_is_told(tmp_path):
    found = Joined([folder(tmp_path, {"a.txt": b"0123456789"}) / "a.txt"])
    (tmp_path / "a.txt").write_bytes(b"01")
    with pytest.raises(VariorumError, match="2 bytes where there were 10"):
        found[0:4]


def test_which_folders_are_texts(tmp_path):
    texts = folder(tmp_path / "t", {"a.txt": b"x" * 4000, "sub/b.txt": b"y" * 4000})
    assert detect(texts).reads == "text" and load_task(texts).facts["vocab"] == 256
    pictures = write_digits(tmp_path / "digits")
    (pictures / "README.md").write_text("what these are")
    assert detect(pictures).reads == "images"
    with pytest.raises(VariorumError, match="none in this folder"):
        TextTask(str(folder(tmp_path / "e", {"a.txt": b""})))
