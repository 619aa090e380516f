"""A linear map whose bias joins the next kernel is the linear map all the same."""

import pytest
import torch
from torch import nn
from torch._inductor.utils import run_and_get_code

from variorum.layers.linear import Linear


def pair(bias: bool = True) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    mine, theirs = Linear(8, 12, bias=bias), nn.Linear(8, 12, bias=bias)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(8,), (0, 8), (5, 8), (2, 3, 8)])
def test_it_is_torchs_linear_map_bit_for_bit(shape: tuple[int, ...], bias: bool) -> None:
    mine, theirs = pair(bias)
    x = torch.randn(shape)
    assert torch.equal(mine(x), theirs(x))


@pytest.mark.slow
def test_compiled_for_inference_the_bias_is_no_pass_of_its_own() -> None:
    mine, theirs = pair()
    x = torch.randn(2, 3, 8)
    with torch.inference_mode():
        out, (code,) = run_and_get_code(torch.compile(nn.Sequential(mine, nn.GELU())), x)
        torch.testing.assert_close(out, nn.functional.gelu(theirs(x)))
    assert "extern_kernels.mm" in code and "addmm" not in code


@pytest.mark.slow
def test_compiled_for_training_and_under_autocast_it_is_torchs_own() -> None:
    mine, theirs = pair()
    x = torch.randn(2, 3, 8)
    out, _ = run_and_get_code(torch.compile(mine), x)
    torch.testing.assert_close(out, theirs(x))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        out = torch.compile(mine)(x)
        torch.testing.assert_close(out, theirs(x))
    assert out.dtype is torch.bfloat16
