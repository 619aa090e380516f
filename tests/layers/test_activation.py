"""An activation overwrites its input only where nothing can need it any more."""

import pytest
import torch

from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP


@pytest.mark.parametrize("activation", Activation)
def test_consuming_is_the_same_function(activation: Activation) -> None:
    x = torch.randn(3, 7, dtype=torch.float64)
    expected = activation.function(x)
    kept = x.clone()
    assert torch.equal(activation.consuming(x), expected)
    assert torch.equal(x, kept), "outside of inference its input stays"
    with torch.inference_mode():
        out = activation.consuming(x)
    assert torch.equal(out, expected)
    assert out.data_ptr() == x.data_ptr(), "in inference it is overwritten"


def test_a_network_answers_alike_with_and_without_gradients() -> None:
    part, x = MLP.spec().build(dim=8), torch.randn(2, 5, 8)
    kept = x.clone()
    expected = part(x)
    with torch.inference_mode():
        assert torch.equal(part(x), expected)
    assert torch.equal(x, kept)
