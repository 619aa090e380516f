"""Algorithms 11, 12 and 13 of Phuong and Hutter: exact gradients, and the same steps as torch's autograd takes."""

from functools import partial

import numpy as np
import pytest
import torch

from explain.formal_weights import TorchEncoderDecoder, bert_theta, gpt2_theta, randomize
from variorum.explain.formal.architectures import d_transformer, e_transformer, ed_transformer
from variorum.explain.formal.gradient import arrays, gradient, mapped
from variorum.explain.formal.nonlinearities import gelu_tanh
from variorum.explain.formal.parameters import DTheta, EDTheta, ETheta
from variorum.explain.formal.samples import Sampler, parameters
from variorum.explain.formal.training import d_training, e_training, ed_training, masked_token_loss, next_token_loss

transformers = pytest.importorskip("transformers")

VOCABULARY, STEPS, ETA, EPS = 6, 5, 0.05, 1e-5
SIZES = {"N_V": 5, "l_max": 5, "d_e": 3, "d_attn": 2, "d_mid": 2, "d_mlp": 3, "H": 2, "L": 1, "L_enc": 1, "L_dec": 1}


def sequences(seed, *, count=STEPS):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(VOCABULARY, size=rng.integers(2, 5)) for _ in range(count))


def assert_moved_alike(start, found, expected):
    """The same step to 1e-8 for every array, and a step worth comparing."""
    for one, other in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)
    moved = [np.abs(after - before).max() for before, after in zip(arrays(start), arrays(found), strict=True)]
    assert max(moved) > 1e-2


def torch_steps(model, losses):
    """One step of torch's SGD for every loss in turn."""
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=ETA)
    for loss in losses:
        sgd.zero_grad()
        loss().backward()
        sgd.step()


def torch_loss(logits, *, tokens, places):
    return -sum(logits.log_softmax(-1)[t, token] for t, token in zip(places, tokens, strict=True))


def losses():
    """A loss of the parameters for each of the three architectures, on tiny random parameters."""
    x, z = np.array([1, 4, 0, 2]), np.array([3, 3, 1])
    D, E, ED = (
        parameters(cls, sampler=Sampler(np.random.default_rng(1), sizes=SIZES)) for cls in (DTheta, ETheta, EDTheta)
    )
    return {
        "D": (D, lambda theta: next_token_loss(d_transformer(x, theta=theta), x=x)),
        "E": (E, lambda theta: masked_token_loss(e_transformer(x, theta=theta), x=x, masked=[0, 2])),
        "ED": (ED, lambda theta: next_token_loss(ed_transformer(z, x=x, theta=theta), x=x)),
    }


@pytest.mark.parametrize("architecture", ["D", "E", "ED"])
@pytest.mark.row("formal-algorithms-transformers", 1)
def test_the_gradient_is_that_of_finite_differences(architecture):
    """The gradients of the training algorithms are those of finite differences."""
    theta, loss = losses()[architecture]
    shifted, h = mapped(np.copy, theta), 1e-5
    for array, slope in zip(arrays(shifted), arrays(gradient(loss, theta=theta)), strict=True):
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + h
            above = loss(shifted)
            array[index] = value - h
            below = loss(shifted)
            array[index] = value
            assert slope[index] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8)


def test_algorithm_13_steps_as_autograd_does():
    config = transformers.GPT2Config(
        n_layer=2, n_embd=4, n_head=2, n_inner=5, vocab_size=VOCABULARY, n_positions=5, layer_norm_epsilon=EPS,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).double().eval()
    randomize(model, seed=0, scale=0.6)
    start, x = gpt2_theta(model), sequences(0)
    found = d_training(x, theta=start, N_epochs=1, eta=ETA,
                       transformer=partial(d_transformer, nonlinearity=gelu_tanh, eps=EPS))  # fmt: skip

    def loss(x_n):
        return torch_loss(model(torch.from_numpy(x_n)[None]).logits[0], tokens=x_n[1:], places=range(len(x_n) - 1))

    torch_steps(model, [partial(loss, x_n) for x_n in x])
    assert_moved_alike(start, found, gpt2_theta(model))


def test_algorithm_12_steps_as_autograd_does():
    config = transformers.BertConfig(
        num_hidden_layers=2, hidden_size=6, num_attention_heads=2, intermediate_size=5, vocab_size=VOCABULARY,
        max_position_embeddings=5, layer_norm_eps=EPS, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config).double().eval()
    randomize(model, seed=0, scale=0.6)
    # The paper has neither a segment embedding nor an output bias: BERT's stay as they are.
    model.bert.embeddings.token_type_embeddings.weight.requires_grad_(False)
    for name, parameter in model.cls.predictions.named_parameters():
        if name in ("bias", "decoder.bias"):
            parameter.data.zero_()
            parameter.requires_grad_(False)
    start, x, mask_token = bert_theta(model), sequences(1), VOCABULARY - 1
    found = e_training(x, theta=start, N_epochs=1, eta=ETA, p_mask=0.5, mask_token=mask_token,
                       rng=np.random.default_rng(7), transformer=partial(e_transformer, eps=EPS))  # fmt: skip

    rng = np.random.default_rng(7)
    covered = [np.where(rng.random(len(x_n)) < 0.5, mask_token, x_n) for x_n in x]
    assert sum((seen == mask_token).sum() for seen in covered) >= STEPS

    def loss(x_n, seen):
        places = np.flatnonzero(seen == mask_token)
        logits = model(torch.from_numpy(seen)[None]).logits[0]
        return torch_loss(logits, tokens=x_n[places], places=places) + 0 * logits.sum()

    torch_steps(model, [partial(loss, *pair) for pair in zip(x, covered, strict=True)])
    assert_moved_alike(start, found, bert_theta(model))


def test_algorithm_11_steps_as_autograd_does():
    model = TorchEncoderDecoder(vocabulary=VOCABULARY, dim=4, heads=2, mlp=5, depth=1, positions=5)
    randomize(model, seed=0, scale=0.6)
    start, z, x = model.theta(), sequences(2), sequences(3)
    found = ed_training(z, x=x, theta=start, N_epochs=1, eta=ETA, transformer=partial(ed_transformer, eps=EPS))

    def loss(z_n, x_n):
        logits = model(torch.from_numpy(z_n), torch.from_numpy(x_n))
        return torch_loss(logits, tokens=x_n[1:], places=range(len(x_n) - 1))

    torch_steps(model, [partial(loss, *pair) for pair in zip(z, x, strict=True)])
    assert_moved_alike(start, found, model.theta())


def test_an_epoch_goes_through_the_data_once_more():
    theta = parameters(DTheta, sampler=Sampler(np.random.default_rng(0), sizes=SIZES | {"N_V": VOCABULARY}))
    x = sequences(4, count=2)
    twice = d_training(x, theta=theta, N_epochs=2, eta=ETA)
    again = d_training(x, theta=d_training(x, theta=theta, N_epochs=1, eta=ETA), N_epochs=1, eta=ETA)
    for one, other in zip(arrays(twice), arrays(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_lowers_the_loss():
    theta = parameters(DTheta, sampler=Sampler(np.random.default_rng(0), sizes=SIZES | {"N_V": VOCABULARY}))
    x = (np.array([0, 1, 2, 3]),)
    before = next_token_loss(d_transformer(x[0], theta=theta), x=x[0])
    after = next_token_loss(d_transformer(x[0], theta=d_training(x, theta=theta, N_epochs=10, eta=0.2)), x=x[0])
    assert after < before / 2
