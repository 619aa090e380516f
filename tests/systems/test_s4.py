"""S4: its kernel against a dense reference, its convolution against its recurrence, and how both grow."""

import math
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch
from scipy.signal import cont2discrete
from torch import Tensor

from house.kept import bears_out
from variorum.core import find_entry
from variorum.layers.mixers.kernels import dplr
from variorum.layers.mixers.kernels.dplr import (
    StateSpaces,
    dplr_kernel,
    dplr_matrix,
    dplr_read,
    dplr_step,
    lengthen,
    truncate,
    untruncate,
)
from variorum.layers.mixers.kernels.hippo import legs, legs_diagonal, legs_low_rank
from variorum.layers.mixers.kernels.long_conv import long_conv, long_conv_direct
from variorum.layers.mixers.state_space import StateSpace
from variorum.models.stack import Stack
from variorum.systems.s4 import Answer, Normed
from variorum.testing.work import work

SLUG = "s4"
STATE, LENGTH = 64, 1024
STEPS = (1e-3, 1e-2, 1e-1)


def systems(dtype: torch.dtype = torch.complex128) -> tuple[StateSpaces, Tensor, np.ndarray]:
    """LegS with the three steps, C in the eigenbasis (3, 32), and C as it is (3, 64)."""
    poles, low_rank, inputs, vectors = legs_diagonal(STATE)
    output = np.random.default_rng(0).standard_normal((len(STEPS), STATE))
    inside = (torch.from_numpy(output) + 0j) @ vectors
    step = torch.tensor(STEPS, dtype=torch.float64)
    parts = (t.expand(len(STEPS), -1).to(dtype) for t in (poles, low_rank, inputs))
    return StateSpaces(step.to(dtype.to_real()), *parts), inside.to(dtype), output


def dense(step: float, output: np.ndarray, length: int) -> Tensor:
    """C Abar^l Bbar by explicit powers of scipy's discretised LegS."""
    matrix, inputs = (t.numpy() for t in legs(STATE))
    nothing = np.zeros((1, 1))
    moved, state, *_ = cont2discrete((matrix, inputs[:, None], output[None], nothing), step, method="bilinear")
    kernel = np.empty(length)
    for lag in range(length):
        kernel[lag] = (output @ state).item()
        state = moved @ state
    return torch.from_numpy(kernel)


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex64, 1e-3), (torch.complex128, 1e-8)])
def test_the_kernel_equals_dense_powers(dtype, tolerance):
    """The kernel of 64 states and length 1024 equals dense powers of scipy's bilinear system: 1e-3 single, 1e-8 double.

    Steps of 1e-3, 1e-2 and 1e-1. Measured, relative: below 3e-5 in single and 5e-14 in double precision.
    """
    spaces, output, plain = systems(dtype)
    exact, wide, _ = systems()
    truncated = truncate(exact, wide, LENGTH).to(dtype)
    found = dplr_kernel(spaces, truncated, LENGTH)
    for i, step in enumerate(STEPS):
        wanted = dense(step, plain[i], LENGTH)
        assert (found[i] - wanted).norm() / wanted.norm() < tolerance
    assert output.dtype == dtype


@pytest.mark.row(SLUG, 0)
def test_legs_is_a_diagonal_less_a_rank_of_one():
    """V (Lambda - P P*) V* is LegS, V is unitary and P is sqrt(n + 1/2) in its basis, to 1e-8 in float64."""
    matrix, inputs = legs(STATE)
    assert matrix[2, 1] == pytest.approx(-math.sqrt(15)) and matrix[2, 2] == -3 and matrix[1, 2] == 0
    poles, low_rank, moved, vectors = legs_diagonal(STATE)
    whole = torch.cat([vectors, vectors.conj()], dim=1)
    both = [torch.cat([t, t.conj()]) for t in (poles, low_rank, moved)]
    diagonal = torch.diag(both[0]) - torch.outer(both[1], both[1].conj())
    torch.testing.assert_close(whole @ diagonal @ whole.mH, matrix + 0j, atol=1e-8, rtol=0)
    torch.testing.assert_close(whole @ whole.mH, torch.eye(STATE) + 0j, atol=1e-8, rtol=0, check_dtype=False)
    torch.testing.assert_close(whole @ both[1], legs_low_rank(STATE) + 0j, atol=1e-8, rtol=0)
    torch.testing.assert_close(whole @ both[2], inputs + 0j, atol=1e-8, rtol=0)


@pytest.mark.row(SLUG, 0)
def test_woodbury_steps_as_the_dense_matrix_does():
    """A step by the rank-one form equals the dense bilinear matrices on the state of the original basis, to 1e-8."""
    spaces, output, _ = systems()
    matrix, inputs = legs(STATE)
    vectors = legs_diagonal(STATE)[3]
    state = torch.randn(STATE, dtype=torch.float64)
    inside = ((state + 0j) @ vectors.conj()).expand(len(STEPS), -1)
    moved = dplr_step(spaces, torch.full((len(STEPS),), 0.7, dtype=torch.float64), inside)
    for i, step in enumerate(STEPS):
        half = step / 2 * matrix
        eye = torch.eye(STATE, dtype=torch.float64)
        wanted = torch.linalg.solve(eye - half, (eye + half) @ state + 0.7 * step * inputs)
        torch.testing.assert_close(2 * (vectors @ moved[i]).real, wanted, atol=1e-8, rtol=0)
    real = torch.cat([inside.real, inside.imag], dim=-1)
    still = dplr_step(spaces, torch.zeros(len(STEPS), dtype=torch.float64), inside)
    by_matrix = torch.einsum("hij,hj->hi", dplr_matrix(spaces), real)
    torch.testing.assert_close(by_matrix, torch.cat([still.real, still.imag], dim=-1), atol=1e-8, rtol=0)
    assert dplr_read(output, moved).shape == (len(STEPS),)


def test_truncation_is_undone_and_doubled():
    """C comes back of C (I - Abar^L), and doubling L gives what truncating at 2 L gives, to 1e-8."""
    spaces, output, _ = systems()
    short, double = (truncate(spaces, output, n) for n in (256, 512))
    torch.testing.assert_close(untruncate(spaces, short, 256), output, atol=1e-8, rtol=0)
    found, length = lengthen(spaces, short, 256, 300)
    assert length == 512
    torch.testing.assert_close(found, double, atol=1e-8, rtol=0)


def test_the_long_convolution_equals_its_definition():
    """By Fourier transforms and tap by tap, to 1e-10."""
    x, kernel = torch.randn(2, 37, 3, dtype=torch.float64), torch.randn(3, 50, dtype=torch.float64)
    torch.testing.assert_close(long_conv(x, kernel), long_conv_direct(x, kernel), atol=1e-10, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_the_recurrence_equals_the_convolution():
    """Step by step, 512 times, the mixer gives what it gives for the row at once, in single precision: 1e-4.

    Also where the row is longer than the kernel that it was made for.
    """
    torch.manual_seed(0)
    for length in (512, 200):
        mixer = StateSpace(16, length=length).eval()
        x = torch.randn(2, 512, 16)
        with torch.no_grad():
            whole, state, steps = mixer(x), mixer.start(2), []
            for t in range(512):
                answer, state = mixer.step(x[:, t], state)
                steps.append(answer)
        torch.testing.assert_close(torch.stack(steps, dim=1), whole, atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_the_whole_model_streams():
    """The language model, 128 tokens one by one, give the logits of the whole: 1e-4."""
    torch.manual_seed(0)
    model = language_model().eval()
    ids = torch.randint(29, (2, 128))
    with torch.no_grad():
        whole, state = model(ids), model.start(2)
        for t in range(128):
            logits, state = model.advance(ids[:, t : t + 1], state)
            torch.testing.assert_close(logits[:, 0], whole[:, t], atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_another_rate_needs_another_step_only():
    """Twice the step on every second sample gives the answers at those samples within 5 percent, without training.

    Smooth inputs of 2048 samples. Measured with four seeds: 1.1 to 3.4 percent.
    """
    torch.manual_seed(0)
    fine = StateSpace(8, length=2048).double()
    coarse = StateSpace(8, length=1024).double()
    coarse.load_state_dict(fine.state_dict())
    with torch.no_grad():
        coarse.log_step += math.log(2)
        where = torch.arange(2048, dtype=torch.float64)[:, None] / 2048
        x = sum(torch.randn(8) * (2 * math.pi * (k * where + torch.rand(8))).sin() for k in range(1, 9))[None]
        before = long_conv(x, fine.kernel(2048))[:, 1::2]
        after = long_conv(x[:, 1::2], coarse.kernel(1024))
    assert (after - before).norm() / before.norm() < 0.05


@pytest.mark.row(SLUG, 2)
def test_work_grows_about_linearly():
    """Operations of kernel and convolution grow like n^p, p below 1.3, from 1k to 16k tokens; dense powers do not.

    Counted: p = 1.0; the dense kernel of L taps, an L by L triangle applied to the row, grows like n^2 (above 1.7).
    """
    lengths = (1024, 4096, 16384)
    mixers = [StateSpace(4, length=n) for n in lengths]
    ours = [work(lambda m=m: m(torch.zeros(1, m.length, 4))) for m in mixers]
    taps = [work(lambda n=n: triangle(torch.zeros(1, n, 4), torch.zeros(4, n))) for n in (256, 512, 1024)]
    assert exponent(ours, 4) < 1.3
    assert exponent(taps, 2) > 1.7


@pytest.mark.slow
@pytest.mark.row(SLUG, 2)
def test_time_grows_about_linearly():
    """Seconds of kernel and convolution grow like n^p, p below 1.3, from 1k to 16k tokens; decoding stays flat.

    Medians of interleaved rounds on one thread; a step after 8,000 tokens takes less than 1.3 times one after 10.
    """
    torch.set_num_threads(1)
    lengths = (1024, 2048, 4096, 8192, 16384)
    mixers = {n: (StateSpace(8, length=n), torch.randn(1, n, 8)) for n in lengths}
    with torch.no_grad():
        rounds = [{n: seconds(lambda m=m, x=x: m(x)) for n, (m, x) in mixers.items()} for _ in range(7)]
        times = [median(r[n] for r in rounds[1:]) for n in lengths]
        slope = np.polyfit(np.log(lengths), np.log(times), 1)[0]
        mixer = StateSpace(8)
        state = mixer.start(1)
        each = []
        for _ in range(8000):
            began = perf_counter()
            _, state = mixer.step(torch.zeros(1, 8), state)
            each.append(perf_counter() - began)
    assert slope < 1.3, times
    assert median(each[-500:]) < 1.3 * median(each[10:510])


@pytest.mark.row(SLUG, 2)
def test_the_state_does_not_grow():
    """What a stream keeps is of one size after 1 and after 500 tokens: N numbers a channel, and as many for C."""
    mixer = StateSpace(8, state=16, length=64)
    state = mixer.start(1)
    sizes = {state.nbytes}
    counted = set()
    with torch.no_grad():
        for n in (1, 99, 400):
            counted.add(work(lambda before=state: mixer.step(torch.randn(1, 8), before)))
            _, state = mixer.advance(torch.randn(1, n, 8), state)
            sizes.add(state.nbytes)
    assert sizes == {2 * 8 * 16 * 4}
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("size", "layers", "dim"), [("lra-listops", 6, 128), ("lra-image", 6, 512), ("cifar-10", 6, 1024)]
)
def test_published_sizes_have_the_papers_parameters(size, layers, dim):
    """A layer has 5 N / 2 complex numbers and two reals a channel, a linear layer, and its norm."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec(size).fill(vocab=256, classes=10).build()
    channel = 2 + 64 // 2 * (2 + 3 * 2)
    layer = dim * channel + dim * dim + dim + 2 * dim
    ends = 256 * dim + 10 * dim + 10
    assert sum(p.numel() for p in model.parameters()) == layers * layer + ends


def language_model() -> Stack:
    args = {"dim": 16, "depth": 1, "state": 8, "length": 64, "answer": Answer.TOKENS, "normed": Normed.LAYER_BEFORE}
    return find_entry(SLUG).spec(**args).fill(vocab=29).build()


def triangle(x: Tensor, kernel: Tensor) -> Tensor:
    """The convolution as a dense matrix."""
    n = x.shape[1]
    lag = torch.arange(n)[:, None] - torch.arange(n)
    matrix = kernel[:, lag.clamp(min=0)] * (lag >= 0)
    return torch.einsum("cij,bjc->bic", matrix, x)


def exponent(found: list[int], ratio: int) -> float:
    """p of c0 + c1 n^p through three values at geometric lengths."""
    return math.log((found[2] - found[1]) / (found[1] - found[0])) / math.log(ratio)


def seconds(run: object) -> float:
    began = perf_counter()
    run()
    return perf_counter() - began


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_s4_remembers_the_first_token() -> None:
    """A fresh run of S4RemembersTheFirstToken comes out as CLAIMS.md has it."""
    bears_out("S4RemembersTheFirstToken")


def test_gradients_of_the_kernel_are_those_of_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and second derivatives by finite differences, its Cauchy sums made two roots at a time."""
    monkeypatch.setattr(dplr, "_RESIDENT", 12)
    torch.manual_seed(0)
    poles = torch.complex(-torch.rand(2, 3).double() - 0.2, torch.randn(2, 3).double())
    others = torch.randn(3, 2, 3, dtype=torch.complex128)
    inputs = [t.requires_grad_() for t in (torch.rand(2).double() + 0.5, poles, *others)]

    def kernel(step: Tensor, poles: Tensor, low_rank: Tensor, into: Tensor, output: Tensor) -> Tensor:
        return dplr_kernel(StateSpaces(step, poles, low_rank, into), output, 8)

    assert torch.autograd.gradcheck(kernel, inputs)
    assert torch.autograd.gradgradcheck(kernel, inputs)
