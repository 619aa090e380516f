"""The kernel of gated linear attention: its chunked form against its naive twins and an independent implementation."""

import importlib.metadata
import runpy

import pytest
import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.mixers.kernels.gated import gated_chunked, gated_parallel, gated_recurrent

FORMS = (gated_recurrent, gated_parallel, gated_chunked)


def operands(n: int, *, strength: float = 0.3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """q, k, v, log decays down to ``-strength`` a token, and a state that is not zero."""
    torch.manual_seed(n)
    q, k, decay = (torch.randn(2, n, 3, 5, dtype=dtype) for _ in range(3))
    v, state = torch.randn(2, n, 3, 4, dtype=dtype), torch.randn(2, 3, 5, 4, dtype=dtype)
    return [x.requires_grad_() for x in (q, k, v, -strength * decay.sigmoid(), state)]


def everything(f, xs, **options):
    """The output, the last state, and the gradient of one random number made of both, to every operand."""
    o, state = f(*xs, **options)
    torch.manual_seed(1)
    loss = sum((x * torch.randn(x.shape, dtype=torch.float64).to(x.dtype)).sum() for x in (o, state))
    return [o, state, *torch.autograd.grad(loss, xs)]


def gap(ours, theirs):
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    return max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("strength", [0.3, 50.0])
@pytest.mark.parametrize("n", [1, 7, 33, 100])
def test_recurrent_equals_parallel_equals_chunked(n, strength):
    """Outputs, last states and gradients, whether a state is kept for long or forgotten at once."""
    xs = operands(n, strength=strength)
    twin = everything(gated_recurrent, xs)
    assert gap(everything(gated_parallel, xs), twin) < 1e-9
    for chunk in (1, 10, 16, 64):
        assert gap(everything(gated_chunked, xs, chunk=chunk), twin) < 1e-9


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(lambda *xs: gated_chunked(*xs, chunk=3), operands(5))


def test_strong_decays_do_not_overflow():
    """Where exp(-G) is beyond float32 after two tokens, the long chunk still equals the recurrence."""
    xs = operands(64, strength=200.0, dtype=torch.float32)
    twin = everything(gated_recurrent, [x.detach().double().requires_grad_() for x in xs])
    ours = everything(gated_chunked, xs, chunk=64)
    assert all(x.isfinite().all() for x in ours)
    assert gap(ours, twin) < 1e-4


def test_parity_with_flas_gated_linear_attention():
    """flash-linear-attention's plain recurrence; it scales queries by 1/sqrt(d_k) itself."""
    files = importlib.metadata.files("fla-core") or []
    path = next(str(f.locate()) for f in files if f.as_posix() == "fla/ops/gla/naive.py")
    q, k, v, decay, state = (x.detach() for x in operands(70, dtype=torch.float32))
    expected = runpy.run_path(path)["naive_recurrent_gla"](q, k, v, decay, state, output_final_state=True)
    for form in FORMS:
        assert gap(form(q * 5**-0.5, k, v, decay, state), expected) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_a_decay_for_each_channel_is_asked_for(form):
    xs = operands(6)
    xs[3] = xs[3][..., :1]
    with pytest.raises(VariorumError, match=r"^decay: expected"):
        form(*xs)
