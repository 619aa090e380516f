"""Checkpoint folders: what is read, what is refused, and what is written."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from samples.checkpoints import answers, saved, transformers
from variorum.core import VariorumError
from variorum.layers.channels.mlp import MLP
from variorum.layers.heads.features import Features
from variorum.runtime.huggingface.family import families, family_of, writes
from variorum.runtime.huggingface.folder import load_folder, save_folder, spec_of
from variorum.runtime.huggingface.tensors import INDEX, WHOLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved("BertForMaskedLM", tmp_path / "bert")
    return tmp_path / "bert"


def test_shards_are_one_checkpoint(folder: Path, tmp_path: Path) -> None:
    model = transformers.BertForMaskedLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2 and not (tmp_path / "shards" / WHOLE).exists()
    whole, shards = load_folder(folder).model, load_folder(tmp_path / "shards").model
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), shards.parameters(), strict=True))

    load_folder(tmp_path / "shards").save(tmp_path / "shards")
    assert (tmp_path / "shards" / WHOLE).exists() and not (tmp_path / "shards" / INDEX).exists()
    assert torch.equal(next(load_folder(tmp_path / "shards").model.parameters()), next(whole.parameters()))


@pytest.mark.parametrize("fault", ["missing", "elsewhere", "swapped", "no map", "not a name"])
def test_an_index_that_does_not_fit_its_shards(folder: Path, tmp_path: Path, fault: str) -> None:
    where = tmp_path / "shards"
    transformers.BertForMaskedLM.from_pretrained(folder).save_pretrained(where, max_shard_size="5KB")
    index = json.loads((where / INDEX).read_text())
    places = index["weight_map"]
    first = min(places)
    if fault == "missing":
        (where / places[first]).unlink()
    elif fault == "elsewhere":
        places[first] = f"../bert/{WHOLE}"
    elif fault == "swapped":
        places[first] = max(places.values())
    elif fault == "not a name":
        places[first] = 1
    else:
        del index["weight_map"]
    (where / INDEX).write_text(json.dumps(index))
    with pytest.raises(VariorumError, match=r"index|weight_map|safetensors"):
        load_folder(where)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_is_refused_unread_and_told_how_to_convert(folder: Path) -> None:
    (folder / WHOLE).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(VariorumError, match=r"pytorch_model\.bin, a pickle.*save_pretrained"):
        load_folder(folder)


@pytest.mark.parametrize("size", [0, 4, 100, 5000])
def test_a_cut_file_is_an_error(folder: Path, size: int) -> None:
    whole = (folder / WHOLE).read_bytes()
    (folder / WHOLE).write_bytes(whole[:size])
    with pytest.raises(VariorumError, match=r"model\.safetensors.*a whole safetensors file"):
        load_folder(folder)


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(VariorumError, match=r"a folder with config\.json"):
        load_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(VariorumError, match="a JSON object"):
        load_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(VariorumError, match=r"model\.safetensors or .*neither"):
        load_folder(tmp_path)


def test_config_and_weights_of_two_models(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for change, told in (({"hidden_size": 32}, "shape"), ({"num_hidden_layers": 3}, "missing: encoder.layer.2"),
                         ({"num_hidden_layers": 1}, "unmapped: encoder.layer.1")):  # fmt: skip
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(VariorumError, match=told):
            load_folder(folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_of_the_file_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    saved("BertForMaskedLM", tmp_path / "theirs", dtype=dtype)
    loaded = load_folder(tmp_path / "theirs")
    assert {p.dtype for p in loaded.model.parameters()} == {dtype}
    loaded.save(tmp_path / "ours")
    before, after = (load_file(tmp_path / where / WHOLE) for where in ("theirs", "ours"))
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


def test_names_of_2018_are_understood(folder: Path) -> None:
    """Old files call LayerNorm's tensors gamma and beta, save positions, and hold tied tensors twice."""
    modern = load_folder(folder).model
    tensors = load_file(folder / WHOLE)
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for k, t in tensors.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["bert.pooler.dense.weight"] = torch.zeros(16, 16)
    old["cls.seq_relationship.bias"] = torch.zeros(2)
    save_file(old, folder / WHOLE)
    assert all(
        torch.equal(a, b) for a, b in zip(modern.parameters(), load_folder(folder).model.parameters(), strict=True)
    )


def test_tied_tensors_are_one_after_loading(folder: Path) -> None:
    model = load_folder(folder).model
    assert model.head.linear.weight is model.embed.embed.token.weight
    assert not any(module.training for module in model.modules())


def test_a_changed_model_says_so_in_its_config(folder: Path, tmp_path: Path) -> None:
    """The written config.json follows the model where it left the original, and keeps what the shape does not tell."""
    loaded = load_folder(folder)
    bare = spec_of(loaded.model).replace("blocks", spec_of(loaded.model)["blocks"][:1])
    model = bare.build()
    config = {**loaded.config, "id2label": {"0": "no", "1": "yes"}, "eos_token_id": 7}
    save_folder(model, tmp_path / "ours", config=config)
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (written["num_hidden_layers"], written["eos_token_id"], written["id2label"]["1"]) == (1, 7, "yes")
    again = transformers.BertForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    ids = torch.randint(50, (2, 9))
    with torch.no_grad():
        assert (answers(again, input_ids=ids)[0] - model.eval()(ids)).abs().max() < 1e-5


def test_a_model_of_no_family_is_not_written(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(load_folder(folder).model)
    other = spec.update("blocks[*].mixer", kv_heads=1)
    with pytest.raises(VariorumError, match="that of no family"):
        save_folder(other.build(), tmp_path / "none")
    with pytest.raises(VariorumError, match="the shape of family 'bert'"):
        save_folder(other.build(), tmp_path / "none", model_type="bert")
    with pytest.raises(VariorumError, match="one built from a Spec, found Linear"):
        save_folder(torch.nn.Linear(2, 2), tmp_path / "none")
    altered = spec.build()
    altered.blocks[0].channels = MLP(16, hidden=20)
    with pytest.raises(VariorumError, match=r"others, such as blocks\.0\.channels\.down\.weight"):
        save_folder(altered, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_family_is_found_by_the_shape(folder: Path, tmp_path: Path) -> None:
    saved("ElectraModel", tmp_path / "electra")
    electra = spec_of(load_folder(tmp_path / "electra").model)
    assert family_of(electra).model_type == "electra"
    classes = spec_of(load_folder(folder).model).replace("head", Features.spec()).replace("tied", ())
    assert [name for name, family in families().items() if writes(family, classes)] == ["electra"]


def test_the_old_weights_stay_until_the_new_are_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / WHOLE).read_bytes()
    loaded = load_folder(folder)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("variorum.runtime.huggingface.tensors.save_file", full)
    with pytest.raises(OSError, match="no space"):
        loaded.save(folder)
    assert (folder / WHOLE).read_bytes() == before


def test_a_model_outlives_its_folder(folder: Path) -> None:
    loaded = load_folder(folder)
    ids = torch.arange(9)[None]
    before = loaded.model(ids)
    shutil.rmtree(folder)
    assert torch.equal(loaded.model(ids), before)
    loaded.model(ids).sum().backward()
    assert all(p.grad is not None for p in loaded.model.parameters())
