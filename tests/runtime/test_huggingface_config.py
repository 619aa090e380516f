"""Nothing in config.json is dropped in silence."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samples.checkpoints import IMAGES, TEXT, saved
from variorum.core import Skeleton, VariorumError, registered
from variorum.core.spec import read_json
from variorum.runtime.huggingface.config import HARMLESS, NEUTRAL, Config
from variorum.runtime.huggingface.family import families, find_family, writes
from variorum.runtime.huggingface.folder import read_config

REFUSED = {
    "BertModel": {
        "hidden_act": "mish",
        "position_embedding_type": "relative_key",
        "is_decoder": True,
        "add_cross_attention": True,
        "pruned_heads": {"0": [1]},
        "layer_norm_type": "rms",
        "hidden_size": "16",
        "num_hidden_layers": True,
        "layer_norm_eps": None,
        "tie_word_embeddings": 1,
        "architectures": ["BertForQuestionAnswering"],
        "quantization_config": {"bits": 4},
    },
    "RobertaModel": {"position_embedding_type": "relative_key_query", "architectures": ["RobertaForCausalLM"]},
    "DistilBertModel": {"activation": "selu", "dim": 16.5},
    "AlbertModel": {"inner_group_num": "1", "hidden_act": "prelu"},
    "ElectraModel": {"position_embedding_type": "relative_key", "architectures": ["ElectraForMultipleChoice"]},
    "DebertaV2Model": {
        "relative_attention": False,
        "pos_att_type": ["p2p"],
        "norm_rel_ebd": "batch_norm",
        "pooler_hidden_size": 8,
        "attention_head_size": 4,
        "conv_act": "mish",
    },
    "ViTModel": {
        "image_size": [16, 16, 16],
        "patch_size": [4, 2],
        "pooler_output_size": 8,
        "pooler_act": "softmax",
        "architectures": ["ViTForMaskedImageModeling"],
    },
    "SwinModel": {
        "num_heads": [2],
        "hidden_size": 8,
        "depths": [2, "2"],
        "architectures": ["SwinBackbone"],
        "use_absolute_embeddings": None,
    },
}


def read(config: dict[str, Any]) -> None:
    family = find_family(config["model_type"])
    reader = Config(config)
    family.to_spec(reader)
    reader.close(family.harmless)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in REFUSED.items() for key in keys])
def test_what_would_change_the_model_is_refused(name: str, key: str, tmp_path: Path) -> None:
    """A value that no part of ours computes is an error that names the key."""
    saved(name, tmp_path)
    config = read_config(tmp_path)
    read(config)
    value = REFUSED[name][key]
    extra = {"conv_kernel_size": 3} if key == "conv_act" else {}
    with pytest.raises(VariorumError, match=rf"config\.json.*{key}"):
        read({**config, **extra, key: value})


@pytest.mark.parametrize("name", [*TEXT, *IMAGES])
def test_the_way_back(name: str, tmp_path: Path) -> None:
    """``to_spec(to_config(spec)) == spec``, and every key of it is read."""
    saved(name, tmp_path)
    family = find_family(read_config(tmp_path)["model_type"])
    spec = family.to_spec(Config(read_config(tmp_path)))
    reader = Config({"model_type": family.model_type, **family.to_config(spec)})
    assert family.to_spec(reader) == spec
    reader.close(family.harmless)


UNREAD = {
    "tie_word_embeddings": lambda name: "ForMaskedLM" not in name,
    "legacy": lambda name: "ForMaskedLM" not in name,
    "pooler_dropout": lambda name: "ForSequenceClassification" not in name,
}
"""Keys that the model classes of these names do not read in transformers either: they have no decoder, or no pooler."""


@pytest.mark.parametrize("name", [name for name in {**TEXT, **IMAGES} if " " not in name])
def test_each_setting_that_matters_changes_the_spec(name: str, tmp_path: Path) -> None:
    """No key is read and then forgotten: another number or flag gives another Spec, or is refused."""
    saved(name, tmp_path)
    config = read_config(tmp_path)
    family = find_family(config["model_type"])
    spec = family.to_spec(Config(config))
    harmless = {key for keys in HARMLESS.values() for key in keys} | family.harmless.keys() | NEUTRAL.keys()
    matters = [key for key, value in config.items() if key not in harmless and isinstance(value, bool | int | float)]
    assert len(matters) >= 8
    for key in matters:
        value = config[key]
        other = not value if isinstance(value, bool) else abs(value) * 2 + 2
        try:
            changed = family.to_spec(Config({**config, key: other})) != spec
        except VariorumError:
            changed = True
        assert changed or (key in UNREAD and UNREAD[key](name)), key


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.sampled_from([0.5, -1.0, 1e300, 2**40, -(2**40)])
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    found = []
    for name in {**TEXT, **IMAGES}:
        folder = tmp_path_factory.mktemp("config")
        saved(name, folder)
        found.append(read_config(folder))
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_config_is_a_model_or_an_error_of_ours(configs: list[dict[str, Any]], data: st.DataObject) -> None:
    """Whatever stands in config.json: a model whose Spec can be written, or one clear error."""
    config = dict(data.draw(st.sampled_from(configs)))
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=2)):
        config[key] = data.draw(JSON)
    try:
        family = find_family(str(config.get("model_type")))
        reader = Config(config)
        spec = family.to_spec(reader)
        reader.close(family.harmless)
        with torch.device("meta"):
            model = spec.build()
        naming = family.naming(spec)
        naming.to_theirs(dict(model.named_parameters()))
    except VariorumError:
        return
    assert family.to_spec(Config(family.to_config(spec) | {"model_type": family.model_type})) == spec


@pytest.mark.parametrize("name", sorted(registered(Skeleton)))
def test_every_skeleton_can_be_asked_for_its_family(name: str) -> None:
    cls = registered(Skeleton)[name]
    for example in cls.examples:
        assert {writes(family, cls.spec(**example)) for family in families().values()} <= {True, False}


def test_nan_and_duplicates_are_no_json() -> None:
    for text in ('{"a": NaN}', '{"a": 1, "a": 2}', "{", "[" * 5000):
        with pytest.raises(VariorumError, match=r"config\.json: expected valid JSON"):
            read_json(text, "config.json")


def test_harmless_and_neutral_do_not_overlap() -> None:
    assert not {key for keys in HARMLESS.values() for key in keys} & NEUTRAL.keys()


def test_a_typo_is_told_the_name_it_may_mean() -> None:
    reader = Config({"model_type": "bert", "architectures": ["BertModel"], "hiden_size": 16})
    family = find_family("bert")
    family.to_spec(reader)
    with pytest.raises(VariorumError, match=r"'hiden_size'.*Did you mean 'hidden_size'"):
        reader.close(family.harmless)


def test_an_unknown_model_type_names_the_families() -> None:
    with pytest.raises(VariorumError, match=r"model_type.*'robertа'.*roberta"):
        find_family("robertа")
