"""Algorithms 14 and 15 of Phuong and Hutter: greedy in the limit, and sampled from the exact distribution."""

import numpy as np
import pytest
from scipy.stats import chisquare

from variorum.core.errors import VariorumError
from variorum.explain.formal.architectures import d_transformer, ed_transformer
from variorum.explain.formal.inference import d_inference, ed_inference, tempered
from variorum.explain.formal.parameters import DTheta, EDTheta
from variorum.explain.formal.samples import Sampler, parameters

SIZES = {"N_V": 6, "l_max": 8, "d_e": 4, "d_attn": 2, "d_mid": 2, "d_mlp": 4, "H": 1, "L": 1, "L_enc": 1, "L_dec": 1}
DRAWS = 10_000


def theta_of(cls, seed):
    return parameters(cls, sampler=Sampler(np.random.default_rng(seed), sizes=SIZES))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.row("formal-algorithms-transformers", 2)
def test_algorithm_14_becomes_greedy_as_the_temperature_falls(seed):
    """DInference becomes greedy decoding as the temperature falls to 0."""
    theta, rng = theta_of(DTheta, seed), np.random.default_rng(seed)
    x = rng.integers(6, size=3)
    y = d_inference(x, theta=theta, l_gen=5, tau=1e-8, rng=rng)
    greedy = x
    for _ in range(5):
        greedy = np.append(greedy, d_transformer(greedy, theta=theta)[:, -1].argmax())
    assert y.tolist() == greedy[3:].tolist()


@pytest.mark.parametrize("tau", [0.7, 1.0, 2.0])
@pytest.mark.row("formal-algorithms-transformers", 2)
def test_algorithm_14_samples_the_exact_distribution(tau):
    """10,000 draws of DInference pass a chi-square test (p > 0.01) against the exact distribution."""
    """All continuations by two tokens: q(y_1 | x) q(y_2 | x, y_1), every cell expected five times at least."""
    theta, rng, x = theta_of(DTheta, 0), np.random.default_rng(20220719), np.array([1, 0])
    first = d_transformer(x, theta=theta)[:, -1] ** (1 / tau)
    second = np.stack([d_transformer(np.append(x, y), theta=theta)[:, -1] ** (1 / tau) for y in range(6)])
    exact = first[:, None] / first.sum() * second / second.sum(axis=1, keepdims=True)
    memory = {}

    def remembered(x, *, theta):
        """The same forward pass, not repeated for a sequence that was met before."""
        key = tuple(x)
        if key not in memory:
            memory[key] = d_transformer(x, theta=theta)
        return memory[key]

    counts = np.zeros((6, 6))
    for _ in range(DRAWS):
        counts[tuple(d_inference(x, theta=theta, l_gen=2, tau=tau, rng=rng, transformer=remembered))] += 1
    assert exact.min() * DRAWS > 5
    assert chisquare(counts.ravel(), exact.ravel() * DRAWS).pvalue > 0.01
    uniform = chisquare(counts.ravel(), np.full(36, DRAWS / 36)).pvalue
    assert uniform < 1e-6, "the test must be able to tell another distribution"


@pytest.mark.parametrize("seed", range(5))
def test_algorithm_15_answers_token_by_token(seed):
    """Greedy answers begin with bos, and end with the first eos or with the last position."""
    theta, z = theta_of(EDTheta, seed), np.random.default_rng(seed).integers(6, size=4)
    bos, eos = 0, 5
    answer = ed_inference(z, theta=theta, tau=1e-8, bos_token=bos, eos_token=eos, rng=np.random.default_rng(0))
    greedy = np.array([bos])
    for _ in range(8):
        greedy = np.append(greedy, ed_transformer(z, x=greedy, theta=theta)[:, -1].argmax())
        if greedy[-1] == eos:
            break
    assert answer.tolist() == greedy.tolist()


def test_algorithm_15_samples_the_exact_distribution():
    """The probability of an answer is the product of its tokens' at temperature 1."""
    theta, z, rng = theta_of(EDTheta, 1), np.array([2, 3]), np.random.default_rng(15)
    first = ed_transformer(z, x=np.array([0]), theta=theta)[:, 0]
    counts = np.zeros(6)
    memory = {}

    def remembered(z, *, x, theta):
        key = tuple(x)
        if key not in memory:
            memory[key] = ed_transformer(z, x=x, theta=theta)
        return memory[key]

    for _ in range(1000):
        answer = ed_inference(z, theta=theta, tau=1.0, bos_token=0, eos_token=5, rng=rng, transformer=remembered)
        assert answer[0] == 0 and (answer[-1] == 5 or len(answer) == 9)
        assert 5 not in answer[1:-1]
        counts[answer[1]] += 1
    assert chisquare(counts, first * 1000).pvalue > 0.01


def test_a_temperature_is_above_zero():
    with pytest.raises(VariorumError, match=r"temperature tau.*above 0, found 0"):
        tempered(np.array([0.5, 0.5]), tau=0.0)


def test_a_token_of_probability_zero_is_never_drawn():
    assert tempered(np.array([0.0, 0.25, 0.75]), tau=0.5).tolist() == pytest.approx([0, 0.1, 0.9])
