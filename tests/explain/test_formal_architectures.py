"""Algorithms 8, 9 and 10 of Phuong and Hutter against torch.nn.Transformer, BERT and GPT-2, on their random weights."""

from functools import partial

import numpy as np
import pytest
import torch

from explain.formal_weights import TorchEncoderDecoder, bert_theta, gpt2_theta, randomize
from variorum.core.errors import VariorumError
from variorum.explain.formal.architectures import d_transformer, e_transformer, ed_transformer
from variorum.explain.formal.nonlinearities import gelu_tanh
from variorum.explain.formal.parameters import DTheta, EDTheta, ETheta
from variorum.explain.formal.samples import Sampler, parameters

transformers = pytest.importorskip("transformers")

DEPTH, VOCABULARY, EPS = 3, 17, 1e-5


def gpt2():
    config = transformers.GPT2Config(
        n_layer=DEPTH, n_embd=24, n_head=3, n_inner=40, vocab_size=VOCABULARY, n_positions=16, layer_norm_epsilon=EPS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).double().eval()


def bert():
    config = transformers.BertConfig(
        num_hidden_layers=DEPTH, hidden_size=24, num_attention_heads=3, intermediate_size=40, vocab_size=VOCABULARY,
        max_position_embeddings=16, layer_norm_eps=EPS, hidden_act="gelu",
    )  # fmt: skip
    return transformers.BertForMaskedLM(config).double().eval()


def probabilities(logits):
    return logits.softmax(-1).T.numpy()


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 7, 16])
@pytest.mark.row("formal-algorithms-transformers", 0)
def test_algorithm_10_is_gpt2(length):
    """DTransformer reproduces GPT2LMHeadModel's probabilities to 1e-8 on copied random weights."""
    model = gpt2()
    randomize(model, seed=length)
    x = np.random.default_rng(length).integers(VOCABULARY, size=length)
    P = d_transformer(x, theta=gpt2_theta(model), nonlinearity=gelu_tanh, eps=EPS)
    expected = probabilities(model(torch.from_numpy(x)[None]).logits[0])
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-8)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 7, 16])
@pytest.mark.row("formal-algorithms-transformers", 0)
def test_algorithm_9_is_bert(length):
    """ETransformer reproduces BertForMaskedLM's probabilities to 1e-8 on copied random weights."""
    model = bert()
    randomize(model, seed=length)
    x = np.random.default_rng(length).integers(VOCABULARY, size=length)
    P = e_transformer(x, theta=bert_theta(model), eps=EPS)
    expected = probabilities(model(torch.from_numpy(x)[None]).logits[0])
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-8)


@torch.no_grad()
@pytest.mark.parametrize(("length_z", "length_x"), [(1, 1), (5, 7), (16, 3)])
@pytest.mark.row("formal-algorithms-transformers", 0)
def test_algorithm_8_is_torch_transformer(length_z, length_x):
    """EDTransformer reproduces torch.nn.Transformer to 1e-8 on copied random weights."""
    model = TorchEncoderDecoder(vocabulary=VOCABULARY, dim=24, heads=3, mlp=40, depth=DEPTH, positions=16).eval()
    randomize(model, seed=length_z)
    rng = np.random.default_rng(length_z)
    z, x = rng.integers(VOCABULARY, size=length_z), rng.integers(VOCABULARY, size=length_x)
    P = ed_transformer(z, x=x, theta=model.theta(), eps=EPS)
    expected = probabilities(model(torch.from_numpy(z), torch.from_numpy(x)))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-8)


def forward_passes(seed):
    """The three Transformers on random parameters as functions of one sequence."""
    sizes = {"N_V": 11, "l_max": 12, "d_e": 6}
    ED, E, D = (
        parameters(cls, sampler=Sampler(np.random.default_rng(seed), sizes=sizes)) for cls in (EDTheta, ETheta, DTheta)
    )
    z = np.random.default_rng(seed).integers(11, size=5)
    return (
        lambda x: ed_transformer(z, x=x, theta=ED),
        partial(e_transformer, theta=E),
        partial(d_transformer, theta=D),
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_column_is_a_distribution(seed):
    x = np.random.default_rng(seed).integers(11, size=6)
    for forward in forward_passes(seed):
        P = forward(x)
        assert (P > 0).all()
        np.testing.assert_allclose(P.sum(axis=0), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_decoders_do_not_look_ahead_and_the_encoder_does(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(11, size=8)
    for t in range(1, 8):
        later = x.copy()
        later[t:] = (later[t:] + 1 + rng.integers(10, size=8 - t)) % 11
        encoder_decoder, encoder, decoder = (np.abs(f(x) - f(later))[:, :t].max() for f in forward_passes(seed))
        assert encoder_decoder <= 1e-12
        assert decoder <= 1e-12
        assert encoder > 1e-6


def test_the_encoder_decoder_depends_on_its_context():
    theta = parameters(EDTheta, sampler=Sampler(np.random.default_rng(0), sizes={"N_V": 11, "l_max": 12}))
    x = np.array([1, 2, 3])
    one, other = (ed_transformer(np.array(z), x=x, theta=theta) for z in ([4, 5, 6], [4, 5, 7]))
    assert np.abs(one - other).max() > 1e-6


def test_an_empty_and_a_too_long_sequence_are_refused():
    forward = forward_passes(0)[2]
    with pytest.raises(VariorumError, match="at least one token"):
        forward(np.array([], dtype=int))
    with pytest.raises(VariorumError, match=r"Algorithm 2.*from 0 to l_max - 1 = 11, found 12"):
        forward(np.zeros(13, dtype=int))
