"""Spec: JSON in and out, laws of reading and rewriting, and nothing but VariorumError on hostile text."""

import json
import math
import random
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from house.specs import makable, specs, values
from variorum.core import Change, Part, Registered, Spec, VariorumError, diff, isolated
from variorum.core.registry import signature
from variorum.core.spec import MAX_DEPTH
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.rotary import Rotary
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

BLOCK = Block.spec(mixer=Attention.spec(heads=4, pattern=Causal.spec()), channels=MLP.spec())
MODEL = Stack.spec(dim=32, embed=TokenEmbed.spec(), blocks=[BLOCK] * 3, head=Unembed.spec())
MANY = settings(max_examples=150)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["MLP", "Attention"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["part", "args", "dim", "mixer"]), inner, max_size=4)
    ),
    max_leaves=12,
)


# -- JSON --------------------------------------------------------------------------------------------------------------
@MANY
@given(specs())
def test_json_comes_back_equal(spec: Spec[Any]) -> None:
    read = Spec.from_json(spec.to_json())
    assert read == spec and hash(read) == hash(spec) and str(read) == str(spec)
    assert read.to_json() == spec.to_json()
    assert Spec.from_dict(json.loads(spec.to_json(indent=2))) == spec


@MANY
@given(st.text(max_size=40) | st.binary(max_size=40) | JSON.map(json.dumps))
def test_any_text_reads_or_raises_our_error(text: str | bytes) -> None:
    read_or_refused(text)


@MANY
@given(specs(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_damaged_file_reads_or_raises_our_error(spec: Spec[Any], chance: random.Random, wounds: int) -> None:
    text = spec.to_json()
    for _ in range(wounds):
        at, far = sorted(chance.choices(range(len(text) + 1), k=2))
        middle = chance.choice(["", text[at:far] * 2, text[at:far] + chance.choice('{}[],:"\\0eE-nN\x00é')])
        text = text[:at] + middle + text[far:]
    read_or_refused(text)


@MANY
@given(specs(), JSON, st.randoms(use_true_random=False))
def test_a_tree_with_a_wrong_value_reads_or_raises_our_error(
    spec: Spec[Any], value: Any, chance: random.Random
) -> None:
    read_or_refused(json.dumps(grafted(spec.to_dict(), value, chance)))


def grafted(tree: Any, value: Any, chance: random.Random) -> Any:
    """The tree with ``value`` in place of one of its branches."""
    if isinstance(tree, dict) and tree and chance.random() < 0.8:
        key = chance.choice(sorted(tree))
        return {**tree, key: grafted(tree[key], value, chance)}
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        i = chance.randrange(len(tree))
        return [*tree[:i], grafted(tree[i], value, chance), *tree[i + 1 :]]
    return value


def read_or_refused(text: str | bytes) -> None:
    try:
        spec = Spec.from_json(text)
    except VariorumError as error:
        assert str(error).count(": expected ") >= 1
    else:
        assert Spec.from_json(spec.to_json()) == spec


HOSTILE = {
    "nothing": "",
    "no json": "{",
    "not a tree": "3",
    "no part": "{}",
    "more than a part": '{"part": "MLP", "args": {}, "run": "rm"}',
    "unknown part": '{"part": "os.system", "args": {}}',
    "abstract part": '{"part": "Mixer", "args": {}}',
    "unknown argument": '{"part": "MLP", "args": {"heads": 4}}',
    "ill-typed argument": '{"part": "MLP", "args": {"dim": "16"}}',
    "a truth value for a number": '{"part": "MLP", "args": {"dim": true}}',
    "the wrong kind": '{"part": "Block", "args": {"mixer": {"part": "MLP", "args": {}}}}',
    "an unknown choice": '{"part": "MLP", "args": {"activation": "sine"}}',
    "duplicate keys": '{"part": "MLP", "part": "GLU", "args": {}}',
    "NaN": '{"part": "LayerNorm", "args": {"eps": NaN}}',
    "infinity": '{"part": "LayerNorm", "args": {"eps": -Infinity}}',
    "infinity by overflow": '{"part": "LayerNorm", "args": {"eps": 1e999}}',
    "a number too long": '{"part": "MLP", "args": {"dim": ' + "9" * 5000 + "}}",
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep parts": '{"part": "MLP", "args": {"dim": ' * 2000 + "1" + "}}" * 2000,
    "not unicode": b"\xff\xfe{}",
    "half a surrogate": '{"part": "\\ud800", "args": {"\\ud800": 1}}',
    "a huge list": '{"part": "MLP", "args": {"dim": [' + ",".join(["1"] * 300_000) + "]}}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_in_words(text: str | bytes) -> None:
    with pytest.raises(VariorumError) as caught:
        Spec.from_json(text)
    assert len(str(caught.value)) < 2000


def test_keys_that_are_no_text_are_refused() -> None:
    with pytest.raises(VariorumError):
        Spec.from_dict({1: "MLP", "args": {}})


def test_nesting_up_to_the_limit_is_read() -> None:
    """A pattern of depth beyond any model, but within the limit, is a value like another."""
    tree: Any = 1
    for _ in range(MAX_DEPTH - 2):
        tree = [tree]
    with pytest.raises(VariorumError, match="dim"):
        Spec.from_dict({"part": "MLP", "args": {"dim": tree}})


# -- checking ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"head": 4}, "Did you mean 'heads'"),
        ({"heads": "4"}, "int"),
        ({"heads": True}, "int"),
        ({"heads": 4.0}, "int"),
        ({"dropout": math.nan}, "finite"),
        ({"dropout": math.inf}, "finite"),
        ({"pattern": Rotary.spec()}, "Pattern"),
        ({"pattern": Causal}, "Pattern"),
        ({"rotation": {}}, "Rotation"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(args: dict[str, Any], said: str) -> None:
    with pytest.raises(VariorumError, match=said):
        Attention.spec(**args)


@pytest.mark.parametrize("value", [{}, [], 3, "sine", None, [{}]])
def test_a_wrong_choice_is_an_error_that_names_the_good_ones(value: Any) -> None:
    with pytest.raises(VariorumError, match="'gelu'"):
        MLP.spec(activation=value)


@MANY
@given(specs(), st.data())
def test_what_fits_the_types_is_taken(spec: Spec[Any], data: st.DataObject) -> None:
    for name, parameter in signature(spec.cls).items():
        if makable(parameter.annotation):
            value = data.draw(values(parameter.annotation))
            assert spec.but(**{name: value})[name] == Spec.of(spec.cls, {name: value})[name]


def test_enums_lists_and_whole_floats_are_equal_to_what_json_gives() -> None:
    assert (
        MLP.spec(activation=Activation.RELU)
        == MLP.spec(activation="relu")
        == Spec.from_json('{"part": "MLP", "args": {"activation": "relu"}}')
    )
    built = MLP.spec(activation="relu", dropout=0).build(dim=8)
    assert built.dropout.p == 0.0 and built.activation.args == (Activation.RELU,)


def test_a_union_is_thawed_by_the_member_that_fits() -> None:
    class Mode(StrEnum):
        ONE = "one"

    with isolated():

        class Holds(Registered):
            def __init__(self, *, mode: Mode | int, shape: tuple[int, float] = (1, 2.0)) -> None:
                self.mode, self.shape = mode, shape

        assert Holds.spec(mode="one").build().mode is Mode.ONE
        assert Holds.spec(mode=3).build().mode == 3
        assert [type(v) for v in Holds.spec(mode=3, shape=[1, 2]).build().shape] == [int, float]
        with pytest.raises(VariorumError):
            Holds.spec(mode=3, shape=[1, 2, 3])


# -- reading and rewriting ---------------------------------------------------------------------------------------------
@MANY
@given(specs())
def test_a_spec_does_not_differ_from_itself(spec: Spec[Any]) -> None:
    assert diff(spec, spec) == []
    assert all(spec.at(path) == inner for path, inner in spec.walk() if path)


@MANY
@given(specs(), st.data())
def test_a_replaced_value_is_the_only_difference(spec: Spec[Any], data: st.DataObject) -> None:
    path, inner = data.draw(st.sampled_from(list(spec.walk())))
    names = [name for name, p in signature(inner.cls).items() if makable(p.annotation)]
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    old = None if name in inner.open else inner[name]
    new = data.draw(values(signature(inner.cls)[name].annotation))
    there = f"{path}.{name}" if path else name
    changed = spec.replace(there, new)
    assert changed.at(there) == inner.but(**{name: new})[name]
    assert unchanged_but(spec, changed, there)
    if old == changed.at(there) and name not in inner.open:
        assert diff(spec, changed) == []
        return
    told = diff(spec, changed)
    assert told or old is None
    prefix = there.split(".")[0].split("[")[0]
    assert all(change.path.removeprefix("len(").startswith(prefix) for change in told)
    if not isinstance(old, Spec | tuple):
        shown = [change.path for change in told]
        assert len(shown) <= 1 and all(same_path(path, there) for path in shown)
        assert all((c.before, c.after) == (old, changed.at(there)) for c in told)


def unchanged_but(before: Spec[Any], after: Spec[Any], path: str) -> bool:
    """Is every spec that is not above or below ``path`` what it was?"""
    apart = [p for p, _ in before.walk() if p and not path.startswith(p) and not p.startswith(path)]
    return all(before.at(p) == after.at(p) for p in apart)


def same_path(shown: str, given: str) -> bool:
    """``blocks[*].mixer`` is how a change of the only block is told."""
    return shown == given or (("[*]" in shown) and shown.replace("[*]", "[0]") == given)


def test_a_change_of_all_blocks_is_told_once() -> None:
    changed = MODEL.replace("blocks[*].mixer", Attention.spec(heads=2))
    assert [str(c) for c in diff(MODEL, changed)] == [
        "blocks[*].mixer.heads: 4 -> 2",
        "blocks[*].mixer.pattern: Causal() -> Full()",
    ]


def test_a_change_of_one_block_is_told_where_it_is() -> None:
    changed = MODEL.replace("blocks[1].mixer.heads", 2)
    assert diff(MODEL, changed) == [Change("blocks[1].mixer.heads", 4, 2)]
    assert diff(changed, MODEL) == [Change("blocks[1].mixer.heads", 2, 4)]


def test_another_depth_is_told_by_its_length() -> None:
    assert diff(MODEL, MODEL.replace("blocks", [BLOCK] * 2)) == [Change("len(blocks)", 3, 2)]


def test_another_part_is_told_whole() -> None:
    changed = MODEL.replace("norm", RMSNorm.spec())
    assert diff(MODEL, changed) == [Change("norm", LayerNorm.spec(), RMSNorm.spec())]


def test_update_changes_arguments_where_they_stand() -> None:
    changed = MODEL.update("blocks[*].mixer", heads=8, dropout=0.1)
    assert changed.at("blocks[2].mixer") == Attention.spec(heads=8, pattern=Causal.spec(), dropout=0.1)


@pytest.mark.parametrize(
    "path",
    ["", ".", "blocks[", "blocks[x]", "blocks[3]", "blocks[-1]", "blocks.mixer", "block", "blocks[0]..mixer", "é",
     "dim.x", "[0]", "blocks[*]", "blocks[0].mixer.heads.x", "blocks[0]mixer"],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_our_error(path: str) -> None:
    with pytest.raises(VariorumError):
        MODEL.at(path)


@MANY
@given(st.text(alphabet="blocks[012*].mixerhad", max_size=16))
def test_any_path_leads_somewhere_or_is_our_error(path: str) -> None:
    for use in (MODEL.at, lambda p: MODEL.replace(p, 4)):
        try:
            use(path)
        except VariorumError as error:
            assert "expected" in str(error)


# -- building ----------------------------------------------------------------------------------------------------------
def test_open_parameters_are_filled_by_name_anywhere_or_at_the_top() -> None:
    assert MODEL.wants() == {"dim", "vocab"} and MODEL.open == ()
    filled = MODEL.fill(vocab=50)
    assert filled.at("embed.vocab") == filled.at("head.vocab") == 50
    model = filled.build(dim=64, colour="red")
    assert model.embed.token.weight.shape == (50, 32) and model.built_from == filled


def test_what_is_not_known_cannot_be_built() -> None:
    with pytest.raises(VariorumError, match="vocab"):
        TokenEmbed.spec().build(dim=8)
    assert TokenEmbed.spec().build(dim=8, vocab=5, length=None).token.num_embeddings == 5


def test_a_constructor_names_and_types_every_argument() -> None:
    with isolated():

        class Untyped(Part):
            def __init__(self, dim) -> None:  # type: ignore[no-untyped-def]
                super().__init__()

        class Anything(Part):
            def __init__(self, *sizes: int) -> None:
                super().__init__()

        for cls, said in ((Untyped, "no type"), (Anything, "names every argument")):
            with pytest.raises(TypeError, match=said):
                cls.spec(dim=3)
