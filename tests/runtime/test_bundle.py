import json
import os
import shutil

import numpy as np
import pytest
import torch

import variorum
from samples.bundles import MAKERS, TEXT, bundle
from variorum.core import Spec, VariorumError
from variorum.data.table import TableTask
from variorum.runtime import bundle as module
from variorum.runtime.bundle import Bundle, load, save
from variorum.runtime.trial import survey


def answers(model, made):
    sample = made.preprocess.build().sample(5, 12)
    with torch.inference_mode():
        return model(**sample)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_loaded_is_what_was_saved(name, tmp_path):
    made = bundle(name)
    folder = save(made, tmp_path / "b")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "bundle.json", "weights.safetensors"]
    back = variorum.load(folder)
    assert (back.spec, back.preprocess, back.kind, back.labels) == (made.spec, made.preprocess, made.kind, made.labels)
    assert back.provenance["system"] == name and back.card.startswith("---\n")
    torch.testing.assert_close(answers(back.model, made), answers(made.model, made), rtol=0, atol=0)
    assert not back.model.training


def test_shared_tensors_are_stored_once_and_stay_shared(tmp_path):
    made = bundle("text")
    folder = save(made, tmp_path / "b")
    stored = json.loads((folder / "bundle.json").read_text())
    assert stored["aliases"] == {"head.linear.weight": "embed.token.weight"}
    assert "head.linear.weight" not in stored["tensors"]
    model = load(folder).model
    assert model.head.linear.weight is model.embed.token.weight


def test_a_model_in_half_precision_stays_so(tmp_path):
    made = bundle("table")
    made.model.bfloat16()
    back = load(save(made, tmp_path / "b"))
    assert {p.dtype for p in back.model.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(answers(back.model, made), answers(made.model, made), rtol=0, atol=0)


def test_loading_leaves_the_random_numbers_alone(tmp_path):
    folder = save(bundle("table"), tmp_path / "b")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load(folder)
    assert torch.equal(torch.rand(3), wanted)


def test_a_changed_model_is_not_saved_under_its_old_spec(tmp_path):
    made = bundle("table")
    made.model.head.linear = torch.nn.Linear(8, 5)
    with pytest.raises(
        VariorumError, match=r"weight 'head\.linear\.bias': expected F32 \(3,\) by the spec, found F32 \(5,\)"
    ):
        save(made, tmp_path / "b")
    made = bundle("text")
    made.model.head.linear.weight = torch.nn.Parameter(made.model.head.linear.weight.detach().clone())
    with pytest.raises(VariorumError, match=r"weight 'head\.linear\.weight'"):
        save(made, tmp_path / "b")
    made.model.built_from = None
    with pytest.raises(VariorumError, match="expected a model that a Spec built"):
        save(made, tmp_path / "b")
    assert not any(tmp_path.iterdir())


def test_an_older_bundle_is_replaced_and_nothing_else(tmp_path):
    folder = save(bundle("table"), tmp_path / "b")
    save(bundle("linear"), folder)
    assert load(folder).provenance["system"] == "linear"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("years of work")
    with pytest.raises(VariorumError, match="a new name, an empty folder, or an older bundle, found something else"):
        save(bundle("table"), tmp_path / "own")
    (tmp_path / "file").write_text("x")
    with pytest.raises(VariorumError, match="found something else"):
        save(bundle("table"), tmp_path / "file")
    assert {p.name for p in tmp_path.iterdir()} == {"b", "own", "file"}


@pytest.mark.parametrize("step", ["write", "model_card", "_sealed", "_flush", "rename"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_at_any_step_leaves_what_was_there(step, existing, tmp_path, monkeypatch):
    folder = tmp_path / "b"
    if existing:
        save(bundle("linear"), folder)

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    owner, name = (module.weights, step) if step == "write" else (module, step)
    if step == "rename":
        rename = module.Path.rename
        monkeypatch.setattr(module.Path, "rename", lambda a, b: full() if a.suffix == ".draft" else rename(a, b))
    else:
        monkeypatch.setattr(owner, name, full)
    with pytest.raises(VariorumError, match=r"No space left on device\. Nothing was changed"):
        save(bundle("table"), folder)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["b"] * existing
    if existing:
        assert load(folder).provenance["system"] == "linear"


def test_a_kill_while_saving_leaves_no_half_bundle(tmp_path):
    """A process is ended at every system call boundary that matters: after each file that it writes."""
    folder = tmp_path / "b"
    for stop in range(1, 12):
        pid = os.fork()
        if pid == 0:
            calls = 0
            flush = module._flush

            def ending(path, stop=stop, flush=flush):
                nonlocal calls
                calls += 1
                if calls == stop:
                    os._exit(9)
                flush(path)

            module._flush = ending
            save(bundle("table"), folder)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if folder.exists():
            assert load(folder).provenance["system"] == "table"
        if status == 0:
            break
    assert status == 0 and stop > 4


def test_values_that_are_no_json_are_refused(tmp_path):
    for bad in ({"loss": float("nan")}, {"path": object()}):
        made = bundle("linear")
        made.provenance = bad
        with pytest.raises(VariorumError, match="expected labels and provenance of JSON values"):
            save(made, tmp_path / "b")


# -- faults in the folder ----------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path):
    return save(bundle("linear"), tmp_path / "b")


def rewrite(folder, change):
    """Change bundle.json and seal it again, as somebody would who knows the format."""
    content = json.loads((folder / "bundle.json").read_text())
    del content["sha256"]
    change(content)
    (folder / "bundle.json").write_bytes(module._sealed(content))


def reweigh(folder):
    """Bring sizes and hashes up to date with the files."""

    def change(content):
        content["files"] = [module._entry(folder / name) for name in ("weights.safetensors", "README.md")]

    rewrite(folder, change)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: shutil.rmtree(f), "expected the folder of a bundle, found nothing of this name"),
        (lambda f: (f / "bundle.json").unlink(), r"found no bundle\.json. Copy the whole folder"),
        (lambda f: (f / "README.md").unlink(), "found no README.md"),
        (lambda f: (f / "model.pkl").touch(), "expected only the files .* found 'model.pkl'. Move them elsewhere"),
        (lambda f: (f / "weights.safetensors").write_bytes(b""), "size .*, found 0"),
        (lambda f: (f / "README.md").write_text("other"), "README.md: expected size"),
        (lambda f: (f / "bundle.json").write_text("{"), "expected valid JSON"),
        (lambda f: (f / "bundle.json").write_text("[]"), "expected an object, found list"),
        (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe"), "expected valid JSON"),
        (lambda f: (f / "bundle.json").write_text('{"a": 1, "a": 2}'), "duplicate key 'a'"),
        (lambda f: (f / "bundle.json").write_text('{"a": NaN}'), "the constant NaN"),
        (lambda f: (f / "bundle.json").write_text("[" * 10**6), "nesting too deep|expected valid JSON"),
        (lambda f: (f / "bundle.json").write_text('{"format_version": 2}'), "found 2. Upgrade: pip install --upgrade"),
        (lambda f: (f / "bundle.json").write_text('{"format_version": "1"}'), "expected format_version 1, found '1'"),
        (lambda f: rewrite(f, lambda c: c.update(format_version=99)), "found 99. Upgrade"),
        (lambda f: rewrite(f, lambda c: c.update(extra=1)), "extra missing or unknown"),
        (lambda f: rewrite(f, lambda c: c.pop("labels")), "labels missing or unknown"),
        (lambda f: rewrite(f, lambda c: c.update(labels="abc")), "bundle.json labels: expected list, found str"),
        (lambda f: rewrite(f, lambda c: c.update(files=[])), "bundle.json files: expected entries"),
        (lambda f: rewrite(f, lambda c: c["files"][0].update(name="../x")), "bundle.json files"),
        (lambda f: rewrite(f, lambda c: c["files"][0].update(size=10**12)), "expected size 1000000000000"),
        (lambda f: rewrite(f, lambda c: c["tensors"].popitem()), "the tensors that bundle.json lists"),
        (lambda f: rewrite(f, lambda c: c.update(aliases={"a": "b"})), "shared tensors"),
        (
            lambda f: rewrite(f, lambda c: c["spec"].update(part="os.system")),
            "name of a registered part, found 'os.system'",
        ),
        (lambda f: rewrite(f, lambda c: c["spec"]["args"].update(outputs=4)), "weight 'linear.bias'.*by the spec"),
        (lambda f: rewrite(f, lambda c: c["spec"]["args"].update(outputs="3")), "argument 'outputs'"),
        (lambda f: rewrite(f, lambda c: c["spec"]["args"].update(hidden=3)), "unknown argument 'hidden'"),
        (lambda f: rewrite(f, lambda c: c["spec"]["args"].update(outputs=-1)), "expected a model that can be built"),
        (lambda f: rewrite(f, lambda c: c["spec"]["args"].pop("outputs")), "values for outputs"),
        (
            lambda f: rewrite(f, lambda c: c.update(spec=TableTask.spec(source="/etc/passwd").to_dict())),
            "a model, found TableTask",
        ),
        (lambda f: rewrite(f, lambda c: c.update(preprocess=c["spec"])), "a preprocess, found LinearModel"),
        (lambda f: rewrite(f, lambda c: c.update(preprocess=7)), "expected an object|spec: expected"),
    ],
)
def test_faults_are_named(break_it, message, folder):
    break_it(folder)
    with pytest.raises(VariorumError, match=message):
        load(folder)


def test_links_that_leave_the_folder_are_refused(folder, tmp_path):
    weights = folder / "weights.safetensors"
    shutil.move(weights, tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VariorumError, match="found a link that leaves it"):
        load(folder)
    weights.unlink()
    weights.mkdir()
    with pytest.raises(VariorumError, match="found no file"):
        load(folder)
    weights.rmdir()
    os.mkfifo(weights)
    with pytest.raises(VariorumError, match="found no file"):
        load(folder)


def test_a_linked_folder_is_followed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert load(tmp_path / "link").provenance["system"] == "linear"


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [2]}, "a": {}}',
        b"{" * 5000,
        b'{"linear.weight": {"dtype": "F32"}}',
    ],
)
def test_headers_that_lie(header, folder):
    path = folder / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    reweigh(folder)
    with pytest.raises(VariorumError):
        load(folder)


@pytest.mark.parametrize("length", [0, 1, 10**4, 2**63, 2**64 - 1])
def test_header_lengths_that_lie(length, folder):
    path = folder / "weights.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    reweigh(folder)
    with pytest.raises(VariorumError, match=r"weights\.safetensors"):
        load(folder)


def test_offsets_that_lie(folder):
    path = folder / "weights.safetensors"
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["linear.weight"]["data_offsets"] = [0, 48]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    reweigh(folder)
    with pytest.raises(VariorumError, match="whole safetensors file"):
        load(folder)


def test_no_pickle_anywhere(folder):
    torch.save({"a": torch.zeros(3)}, folder / "weights.safetensors")
    reweigh(folder)
    with pytest.raises(VariorumError, match="whole safetensors file"):
        load(folder)


@pytest.mark.parametrize(
    "spec",
    [
        TEXT.but(dim=10**12).fill(vocab=10),
        TEXT.but(dim=9_000_000).fill(vocab=10),
        TEXT.fill(vocab=9_000_000),
        TEXT.fill(vocab=10**15),
        TEXT.but(blocks=TEXT["blocks"] * 5000).fill(vocab=10),
        Spec.from_json('{"part": "ConvNet", "args": {"channels": 1, "classes": 2, "width": 1, "stages": 60}}'),
        Spec.from_json('{"part": "ConvNet", "args": {"channels": 1, "classes": 2, "width": 1, "stages": 9000000}}'),
        Spec.from_json(
            '{"part": "TreeEnsemble", "args": {"nodes": 9000000000000000000, "trees": 1, "depth": 1, "outputs": 1}}'
        ),
        Spec.from_json('{"part": "NGram", "args": {"vocab": 2, "contexts": [9999999], "entries": [9999999]}}'),
    ],
    ids=str,
)
def test_giants_take_neither_memory_nor_time(spec, folder):
    import resource
    import time

    rewrite(folder, lambda c: c.update(spec=spec.to_dict()))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(VariorumError):
        load(folder)
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"


def test_survey_counts_shared_tensors_once():
    model = bundle("text").model
    assert survey(model).nbytes == 4 * sum(p.numel() for p in model.parameters())


def test_bundle_without_preprocess(tmp_path):
    made = Bundle(bundle("linear").model, "table")
    back = load(save(made, tmp_path / "b"))
    assert back.preprocess is None
    with pytest.raises(VariorumError, match="expected a preprocess"):
        back.predict(np.zeros((1, 4)))


def test_the_card_has_a_yaml_head(folder):
    import yaml

    card = load(folder).card
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "variorum" and head["tags"] == ["variorum", "table", "LinearModel"]
    made = bundle("linear")
    made.card = "# My own words\r\nümlaut \ud800"
    assert load(save(made, folder)).card == "# My own words\r\nümlaut \\ud800"
