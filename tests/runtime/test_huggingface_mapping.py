"""The table of names between a foreign layout and ours, read in both directions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.runtime.huggingface.mapping import Copy, Naming, Rule, Unused

QKV = Rule("blocks.{i}.qkv.{p}", ("layer.{i}.q.{p}", "layer.{i}.k.{p}", "layer.{i}.v.{p}"))


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


def shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def back_and_forth(naming: Naming, ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theirs = naming.to_theirs(ours)
    again = naming.to_ours(theirs, shapes(ours))
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[name], ours[name]) for name in ours)
    return theirs


def test_a_rule_renames_what_stands_between_dots() -> None:
    ours = {f"blocks.{i}.norm.{p}": numbered(3) + i for i in range(12) for p in ("weight", "bias")}
    theirs = back_and_forth(Naming((Rule("blocks.{i}.norm.{p}", "h.{i}.ln.{p}"),)), ours)
    assert torch.equal(theirs["h.11.ln.bias"], ours["blocks.11.norm.bias"]) and len(theirs) == 24


def test_several_of_theirs_are_joined_along_the_first_axis() -> None:
    ours = {"blocks.0.qkv.weight": numbered(6, 2), "blocks.0.qkv.bias": numbered(6)}
    theirs = back_and_forth(Naming((QKV,)), ours)
    assert theirs["layer.0.k.weight"].tolist() == [[4, 5], [6, 7]]
    assert theirs["layer.0.v.bias"].tolist() == [4, 5]


def test_shares_of_unlike_length() -> None:
    rule = Rule("qkv", ("q", "k", "v"), shares=(4, 1, 1))
    theirs = back_and_forth(Naming((rule,)), {"qkv": numbered(12, 3)})
    assert [len(theirs[name]) for name in "qkv"] == [8, 2, 2]


def test_one_of_theirs_is_cut_into_several_of_ours() -> None:
    rule = Rule(("mlp.gate", "mlp.up"), "mlp.both", shares=(1, 1))
    ours = {"mlp.gate": numbered(2, 3), "mlp.up": numbered(2, 3) + 9}
    theirs = back_and_forth(Naming((rule,)), ours)
    assert torch.equal(theirs["mlp.both"], torch.cat([ours["mlp.gate"], ours["mlp.up"]]))


def test_matrices_are_transposed_and_vectors_are_not() -> None:
    naming = Naming((Rule("up.{p}", "c_fc.{p}", transposed=True),))
    theirs = back_and_forth(naming, {"up.weight": numbered(4, 3), "up.bias": numbered(4)})
    assert theirs["c_fc.weight"].shape == (3, 4) and theirs["c_fc.bias"].shape == (4,)


def test_a_fused_and_transposed_matrix() -> None:
    rule = Rule("qkv.{p}", ("q.{p}", "k.{p}", "v.{p}"), transposed=True)
    theirs = back_and_forth(Naming((rule,)), {"qkv.weight": numbered(6, 5), "qkv.bias": numbered(6)})
    assert theirs["k.weight"].shape == (5, 2)


def test_a_missing_share_is_zeros() -> None:
    naming = Naming((Rule("qkv.bias", ("q.bias", None, "v.bias")),))
    bias = torch.cat([torch.ones(2), torch.zeros(2), torch.ones(2)])
    assert back_and_forth(naming, {"qkv.bias": bias}).keys() == {"q.bias", "v.bias"}
    with pytest.raises(VariorumError, match=r"qkv\.bias.*zeros"):
        naming.to_theirs({"qkv.bias": torch.ones(6)})


def test_leading_axes_of_length_one() -> None:
    naming = Naming((Rule("token", "cls_token", axes=2),))
    assert back_and_forth(naming, {"token": numbered(4)})["cls_token"].shape == (1, 1, 4)
    with pytest.raises(VariorumError, match=r"cls_token.*leading axes"):
        naming.to_ours({"cls_token": numbered(2, 1, 4)}, {"token": torch.Size([4])})


def test_a_prefix_may_be_there_or_not_and_is_written_when_asked() -> None:
    backbone, head = (Rule("a.{p}", "x.{p}"),), (Rule("b.{p}", "cls.{p}"),)
    ours = {"a.weight": numbered(2), "b.weight": numbered(3)}
    bare, prefixed = Naming(backbone, head, prefix="bert"), Naming(backbone, head, prefix="bert", prefixed=True)
    assert bare.to_theirs(ours).keys() == {"x.weight", "cls.weight"}
    assert prefixed.to_theirs(ours).keys() == {"bert.x.weight", "cls.weight"}
    for naming in (bare, prefixed):
        for written in (bare, prefixed):
            assert naming.to_ours(written.to_theirs(ours), shapes(ours)).keys() == ours.keys()
    with pytest.raises(VariorumError, match=r"'x\.weight' with and without 'bert\.'"):
        bare.to_ours({**bare.to_theirs(ours), **prefixed.to_theirs(ours)}, shapes(ours))


def test_what_is_missing_or_unmapped_is_named() -> None:
    naming = Naming((QKV,), unused=(Unused("layer.{i}.ids", "computed"),))
    ours = {"blocks.0.qkv.weight": numbered(6, 2)}
    theirs = naming.to_theirs(ours)
    assert naming.to_ours({**theirs, "layer.0.ids": numbered(1)}, shapes(ours))
    with pytest.raises(VariorumError, match=r"unmapped: layer\.0\.extra"):
        naming.to_ours({**theirs, "layer.0.extra": numbered(1)}, shapes(ours))
    with pytest.raises(VariorumError, match=r"unmapped: deep\.layer\.0\.ids"):
        naming.to_ours({**theirs, "deep.layer.0.ids": numbered(1)}, shapes(ours))
    with pytest.raises(VariorumError, match=r"missing: layer\.0\.k\.weight\. Did you mean 'layer\.0\.kk\.weight'"):
        theirs["layer.0.kk.weight"] = theirs.pop("layer.0.k.weight")
        naming.to_ours(theirs, shapes(ours))


def test_a_tensor_of_ours_that_no_rule_or_two_rules_name() -> None:
    for naming, found in ((Naming((QKV,)), "0"), (Naming((Rule("a.{x}", "b.{x}"), Rule("{x}.c", "d.{x}"))), "2")):
        for call in (lambda n: n.to_theirs({"a.c": numbered(1)}), lambda n: n.to_ours({}, {"a.c": torch.Size([1])})):
            with pytest.raises(VariorumError, match=rf"'a\.c'.*found {found}"):
                call(naming)


def test_a_copy_must_be_equal() -> None:
    naming = Naming((Rule("token", "word"),), copies=(Copy("decoder", "word"),))
    word = numbered(3, 2)
    assert naming.to_ours({"word": word, "decoder": word.clone()}, {"token": word.shape}).keys() == {"token"}
    with pytest.raises(VariorumError, match=r"'decoder'.*same values as 'word'"):
        naming.to_ours({"word": word, "decoder": word + 1}, {"token": word.shape})


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"q": numbered(2, 2), "k": numbered(2, 2), "v": numbered(2, 3)}, "one dtype and width"),
        ({"q": numbered(2, 2), "k": numbered(2, 2).half(), "v": numbered(2, 2)}, "one dtype and width"),
        ({"q": numbered(2, 2), "k": numbered(2, 2), "v": numbered(1, 2)}, r"shape \(6, 2\) for qkv"),
    ],
)
def test_tensors_of_wrong_shape_are_named(theirs: dict[str, torch.Tensor], told: str) -> None:
    with pytest.raises(VariorumError, match=told):
        Naming((Rule("qkv", ("q", "k", "v")),)).to_ours(theirs, {"qkv": torch.Size([6, 2])})


@given(
    shares=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    unit=st.integers(1, 3),
    width=st.integers(0, 3),
    transposed=st.booleans(),
    axes=st.integers(0, 2),
    split=st.booleans(),
)
def test_any_rule_comes_back(
    shares: list[int], unit: int, width: int, transposed: bool, axes: int, split: bool
) -> None:
    parts = tuple(f"part{k}" for k in range(len(shares)))
    rule = Rule(parts if split else "whole", "whole" if split else parts, tuple(shares), transposed, axes)
    sizes = [unit * share for share in shares] if split else [unit * sum(shares)]
    names = parts if split else ("whole",)
    back_and_forth(
        Naming((rule,)), {n: numbered(s, width) if width else numbered(s) for n, s in zip(names, sizes, strict=True)}
    )
