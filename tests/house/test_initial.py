"""Initial values as data: which tensors they name, and in which order they are applied."""

import pytest
import torch

from variorum.core import VariorumError, initialise
from variorum.core.initial import tensors
from variorum.layers.channels.glu import GLU
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.initial.constant import Constant
from variorum.layers.initial.truncated_normal import TruncatedNormal
from variorum.layers.initial.xavier_normal import XavierNormal
from variorum.layers.mixers.attention import Attention
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

BLOCK = Block.spec(mixer=Attention.spec(heads=4, kv_heads=2), channels=GLU.spec())
MODEL = Stack.spec(dim=16, embed=TokenEmbed.spec(vocab=11), blocks=[BLOCK], head=Unembed.spec(vocab=11),
                   tied=[("head.linear.weight", "embed.token.weight")])  # fmt: skip


def test_stacked_maps_have_names_of_their_own() -> None:
    """Of ``qkv`` and ``gate_up`` each map is a view under its own name; every number is named once, ties included."""
    model = MODEL.build()
    found = dict(tensors(model))
    shapes = {name: tuple(found[f"blocks.0.mixer.{name}.weight"].shape) for name in ("query", "key", "value")}
    assert shapes == {"query": (16, 16), "key": (8, 16), "value": (8, 16)}
    assert sum(values.numel() for values in found.values()) == sum(p.numel() for p in model.parameters())
    found["blocks.0.channels.up.weight"].zero_()
    up = model.blocks[0].channels.gate_up.weight[-found["blocks.0.channels.up.weight"].shape[0] :]
    assert not up.any() and model.blocks[0].channels.gate_up.weight.any()


def test_a_part_alone_has_the_same_names() -> None:
    """The names of a part that is not inside a model have no leading dot."""
    part = Attention.spec(heads=2).build(dim=8)
    assert {"query.weight", "query.bias", "out.weight"} <= dict(tensors(part)).keys()


def test_they_are_applied_in_order_and_only_where_named() -> None:
    """The last one that names a tensor decides; all else keeps the values it had."""
    torch.manual_seed(0)
    plain = MODEL.build()
    torch.manual_seed(0)
    initial = [Constant.spec(names=["*.out.*", "*.query.weight"], value=2.0), Constant.spec(names=["*.query.*"])]
    model = MODEL.but(initial=initial).build()
    query, rest = model.blocks[0].mixer.qkv.weight.split([16, 16])
    assert not query.any() and (model.blocks[0].mixer.out.weight == 2).all()
    assert torch.equal(rest, plain.blocks[0].mixer.qkv.weight[16:])
    assert torch.equal(model.embed.token.weight, plain.embed.token.weight)


def test_drawn_values_are_those_of_the_distribution() -> None:
    """Std to 3%: Xavier's of a map 200 to 100 is gain * sqrt(2 / 300); a normal cut at two has 0.88 of its std."""
    torch.manual_seed(0)
    values = torch.empty(100, 200)
    XavierNormal(names=["*"], gain=1.5).draw(values)
    assert float(values.std()) == pytest.approx(1.5 * (2 / 300) ** 0.5, rel=0.03)
    TruncatedNormal(names=["*"], std=0.5).draw(values)
    assert float(values.std()) == pytest.approx(0.5 * 0.8796, rel=0.03) and float(values.abs().max()) <= 1


def test_a_name_of_nothing_is_an_error() -> None:
    """A pattern without a match names the nearest tensors."""
    with pytest.raises(VariorumError, match=r"mixer\.query\.weight"):
        initialise(MODEL.build(), [Constant.spec(names=["blocks.0.mixer.qury.weight"])])


def test_the_meta_device_needs_no_memory() -> None:
    """A model is built with its initial values named where there are no values."""
    with torch.device("meta"):
        model = MODEL.but(initial=[XavierNormal.spec(names=["*.out.weight"])]).build()
    assert all(p.is_meta for p in model.parameters())
