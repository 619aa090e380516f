"""Attention weights can be asked of every system that attends; of the others one is told why not."""

import pytest
import torch

from variorum.compare.describe import ASSUMED, example
from variorum.core import Mixer, Part, Spec, VariorumError, entries, points
from variorum.explain.attention import attention_weights

FITTED = [(slug, data) for slug, entry in entries().items() for data in entry.fits]


_ASKED = torch.tensor([0.0, 1.0, 0.0, torch.nan]).view(1, 4, 1)
OTHERS = {
    "embed": {"inputs": torch.cat([torch.randn(1, 4, 3), _ASKED], dim=-1)},  # labelled rows, one asked for
    "encoder.embed": {"inputs": torch.randn(1, 40, 80), "target": torch.tensor([[1, 2]])},  # frames, and what was said
}
"""Inputs that are no raw data, by where they go in."""


@pytest.fixture(params=FITTED, ids=[f"{slug}-{data}" for slug, data in FITTED])
def model(request: pytest.FixtureRequest) -> Part:
    slug, data = request.param
    spec = entries()[slug].fit(data)
    assert isinstance(spec, Spec)
    facts = {**ASSUMED, **({"height": 16, "width": 16} if data == "images" else {})}
    torch.manual_seed(0)
    return spec.fill(**facts).build().eval()


def test_weights_are_told_or_it_is_said_why_not(model: Part) -> None:
    inputs = example(model)[0] or OTHERS[type(model).inputs["inputs"].embed]
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


def test_every_block_of_every_shape_has_a_point(model: Part) -> None:
    blocks = {name for name, part in model.named_modules() if type(part).__name__.endswith("Block")}
    named = points(model)
    assert all(any(point.startswith(f"{block}.") for point in named) for block in blocks)
