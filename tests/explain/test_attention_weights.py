"""Attention weights can be asked of every system that attends; of the others one is told why not."""

from functools import cache
from typing import Any

import pytest
import torch

from samples.sources import SOURCES
from variorum.core import Mixer, Part, Spec, VariorumError, entries, points
from variorum.data.readers.reader import load_task
from variorum.explain.attention import attention_weights

FITTED = [(slug, data) for slug, entry in entries().items() for data in entry.fits]


_ASKED = torch.tensor([0.0, 1.0, 0.0, torch.nan]).view(1, 4, 1)
OTHERS = {
    "tabpfn": ({"classes": 10}, {"inputs": torch.cat([torch.randn(1, 4, 3), _ASKED], dim=-1)}),
    "speech": ({"vocab": 20, "bins": 80}, {"inputs": torch.randn(1, 40, 80), "target": torch.tensor([[1, 2]])}),
}
"""Facts and inputs where no reader makes them: labelled rows, one asked for; frames, and what was said."""


@cache
def facts_and_inputs(slug: str, data: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What real data of a kind tell, and two rows of them."""
    if (known := OTHERS.get(slug, OTHERS.get(data))) is not None:
        return known
    task = load_task(SOURCES[data])
    return task.facts, next(task.held_out("test", 2)).inputs


Given = tuple[Part, dict[str, Any]]


@pytest.fixture(params=FITTED, ids=[f"{slug}-{data}" for slug, data in FITTED])
def given(request: pytest.FixtureRequest) -> Given:
    slug, data = request.param
    spec = entries()[slug].fit(data)
    assert isinstance(spec, Spec)
    facts, inputs = facts_and_inputs(slug, data)
    torch.manual_seed(0)
    return spec.fill(**facts).build().eval(), inputs


def test_weights_are_told_or_it_is_said_why_not(given: Given) -> None:
    model, inputs = given
    mixers = {type(part).__name__ for part in model.modules() if isinstance(part, Mixer)}
    attends = any(isinstance(part, Mixer) and "weights" in part.taps for part in model.modules())
    if not attends:
        with pytest.raises(VariorumError, match="form no weights over tokens" if mixers else "no mixer at all"):
            attention_weights(model, **inputs)
        return
    told = attention_weights(model, **inputs)
    for name, values in told.items():
        assert values, f"{name} told nothing"
        for weights in values:
            assert weights.min() >= 0
            assert weights.sum(-1).max() <= 1 + 1e-4


def test_every_block_of_every_shape_has_a_point(given: Given) -> None:
    model, _ = given
    blocks = {name for name, part in model.named_modules() if type(part).__name__.endswith("Block")}
    named = points(model)
    assert all(any(point.startswith(f"{block}.") for point in named) for block in blocks)
