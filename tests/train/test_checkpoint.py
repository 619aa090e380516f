"""Checkpoints: whole or not at all; nothing but safetensors and JSON is read."""

import json
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from variorum.core import VariorumError
from variorum.train.checkpoint import KEY, Checkpoint, load_module, module_tensors
from variorum.train.descent import Descent
from variorum.train.kept import FILE
from variorum.train.recipe import Budget, Run


def test_what_is_written_is_read(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "half": torch.ones(2, dtype=torch.bfloat16), "view": base[1:], "turned": base.T, "nothing": torch.empty(0),
        "scalar": torch.tensor(3, dtype=torch.int64), "double": torch.rand(2, dtype=torch.float64),
    }  # fmt: skip
    Checkpoint({"a": [1, None, 0.1]}, tensors).write(tmp_path / "deep" / "c")
    found = Checkpoint.read(tmp_path / "deep" / "c")
    assert found.record == {"format": 1, "a": [1, None, 0.1]}
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found.tensors[name], tensor) and found.tensors[name].dtype == tensor.dtype
    assert os.listdir(tmp_path / "deep") == ["c"]


def test_a_number_that_json_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Checkpoint({"best": float("nan")}, {}).write(tmp_path / "c")
    assert os.listdir(tmp_path) == []


FULL = """
    import resource, signal, sys
    from pathlib import Path
    import torch
    from variorum.train.checkpoint import Checkpoint
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path(sys.argv[1])
    Checkpoint({"step": 1}, {"x": torch.ones(1000)}).write(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    Checkpoint({"step": 2}, {"x": torch.ones(100_000)}).write(path)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path):
    """A limit on the size of files stands for a disk that is full after 100 kB."""
    args = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path / "c")]
    child = subprocess.run(args, capture_output=True, text=True, check=False)
    assert child.returncode == 1 and "VariorumError" in child.stderr, child.stderr
    said = child.stderr.strip().splitlines()[-1]
    assert "room for 0.4 MB" in said and "the checkpoint before it is intact" in said and "Make room" in said
    found = Checkpoint.read(tmp_path / "c")
    assert found.record["step"] == 1 and torch.equal(found.tensors["x"], torch.ones(1000))
    assert os.listdir(tmp_path) == ["c"]


def test_training_on_a_full_disk_says_so(spec, task, tmp_path, monkeypatch):
    def full(*args, **rest):
        raise OSError(28, "No space left on device")

    Descent(batch=4).train(spec, task, Run(Budget(steps=2), folder=tmp_path))
    before = (tmp_path / FILE).read_bytes()
    monkeypatch.setattr("variorum.train.checkpoint.save_file", full)
    with pytest.raises(VariorumError, match=r"No space left on device .the checkpoint before it is intact"):
        Descent(batch=4).train(spec, task, Run(Budget(steps=4), folder=tmp_path))
    assert (tmp_path / FILE).read_bytes() == before


def test_killed_before_the_rename_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    path = tmp_path / "c"
    Checkpoint({"step": 1}, {}).write(path)
    with monkeypatch.context() as patch:
        patch.setattr("variorum.train.checkpoint._settle", lambda path: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            Checkpoint({"step": 2}, {}).write(path)
    assert Checkpoint.read(path).record["step"] == 1
    Checkpoint({"step": 3}, {}).write(path)  # over what was left behind
    assert Checkpoint.read(path).record["step"] == 3 and os.listdir(tmp_path) == ["c"]


def _cut(path):
    Checkpoint({}, {"x": torch.ones(100)}).write(path)
    path.write_bytes(path.read_bytes()[:-7])


def _pickled(path):
    path.write_bytes(pickle.dumps({"a": 1}))


def _duplicate(path):
    save_file({"x": torch.ones(1)}, path, {KEY: '{"format": 1, "format": 1}'})


FAULTS = {
    "empty": lambda path: path.touch(),
    "cut": _cut,
    "pickle": _pickled,
    "folder": lambda path: path.mkdir(),
    "no record": lambda path: save_file({"x": torch.ones(1)}, path),
    "no JSON": lambda path: save_file({"x": torch.ones(1)}, path, {KEY: "{"}),
    "NaN": lambda path: save_file({"x": torch.ones(1)}, path, {KEY: '{"format": NaN}'}),
    "duplicate": _duplicate,
    "list": lambda path: save_file({"x": torch.ones(1)}, path, {KEY: "[1]"}),
    "format": lambda path: save_file({"x": torch.ones(1)}, path, {KEY: '{"format": 99}'}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_are_none(tmp_path, fault):
    FAULTS[fault](tmp_path / "c")
    with pytest.raises(VariorumError, match="checkpoint"):
        Checkpoint.read(tmp_path / "c")


@pytest.mark.parametrize("change", [{"verdict": {}}, {"verdict": {"more": 1}}, {"step": None}, {"precision": "8"}])
def test_a_record_that_is_damaged(spec, task, tmp_path, change):
    run = Run(Budget(steps=1), folder=tmp_path)
    Descent(batch=4, evaluations=0).train(spec, task, run)
    found = Checkpoint.read(tmp_path / FILE)
    record = {k: v for k, v in (found.record | change).items() if v not in (None, {})}
    Checkpoint(record, found.tensors).write(tmp_path / FILE)
    with pytest.raises(VariorumError, match="a record that Variorum wrote"):
        Descent(batch=4, evaluations=0).train(spec, task, run)


@pytest.mark.parametrize("kind", ["learner", "optimizer", "best"])
def test_tensors_that_are_damaged(spec, task, tmp_path, kind):
    run = Run(Budget(steps=1), folder=tmp_path)
    Descent(batch=4, evaluations=1).train(spec, task, run)
    found = Checkpoint.read(tmp_path / FILE)
    name = next(n for n in found.tensors if n.startswith(f"{kind}/") and n.endswith(("weight", "exp_avg")))
    damaged = {(f"{kind}/strange/{n}" if n == name else n): t for n, t in found.tensors.items()}
    Checkpoint(found.record, damaged).write(tmp_path / FILE)
    with pytest.raises(VariorumError):
        Descent(batch=4, evaluations=1).train(spec, task, run)


def test_a_tied_parameter_is_written_once_and_read_for_both_names():
    model = nn.Module()
    model.a, model.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    model.b.weight = model.a.weight
    tensors = {name: t.clone() for name, t in module_tensors(model).items()}
    assert tensors.keys() == {"a.weight"}
    with torch.no_grad():
        model.a.weight.zero_()
    load_module(model, tensors, "test")
    assert torch.equal(model.b.weight, tensors["a.weight"]) and model.b.weight is model.a.weight


def test_a_state_that_is_no_tensor_is_refused():
    class Odd(nn.Module):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(VariorumError, match="parameters and buffers only"):
        module_tensors(Odd())


def test_the_file_holds_no_pickle(spec, task, tmp_path):
    Descent(batch=4).train(spec, task, Run(Budget(steps=2), folder=tmp_path))
    raw = (tmp_path / FILE).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    assert max(t["data_offsets"][1] for n, t in header.items() if n != "__metadata__") == len(raw) - 8 - size
