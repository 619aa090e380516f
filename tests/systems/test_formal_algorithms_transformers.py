"""The plain Transformer in its three forms: the library's fast models against the paper's algorithms."""

from functools import partial

import numpy as np
import pytest
import torch

from systems.formal_library import d_theta, e_theta, ed_theta
from variorum.core import find_entry
from variorum.explain.formal.architectures import d_transformer, e_transformer, ed_transformer
from variorum.explain.formal.training import d_training, e_training

SLUG = "formal-algorithms-transformers"
EPS, VOCAB = 1e-5, 11


def build(form, *, dim=8, depth=3, heads=2, length=9):
    """A small model in float64 with every parameter drawn anew."""
    torch.manual_seed(0)
    spec = find_entry(SLUG).spec(form=form, dim=dim, depth=depth, heads=heads, length=length).fill(vocab=VOCAB)
    model = spec.build().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    if form == "encoder-decoder":  # the paper has one vocabulary and one set of positions
        model.encoder.embed.load_state_dict(model.decoder.embed.state_dict())
    return model


def close(found, expected):
    np.testing.assert_allclose(found.softmax(-1)[0].T.detach().numpy(), expected, rtol=0, atol=1e-8)


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("n", [1, 4, 9])
def test_decoder_is_algorithm_10(n):
    """The decoder's probabilities are DTransformer's, to 1e-8."""
    model, ids = build("decoder"), torch.randint(VOCAB, (1, n))
    close(model(ids), d_transformer(ids[0].numpy(), theta=d_theta(model), eps=EPS))


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("n", [1, 4, 9])
def test_encoder_is_algorithm_9(n):
    """The encoder's probabilities are ETransformer's, to 1e-8."""
    model, ids = build("encoder"), torch.randint(VOCAB, (1, n))
    close(model(ids), e_transformer(ids[0].numpy(), theta=e_theta(model), eps=EPS))


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 7), (9, 2)])
def test_encoder_decoder_is_algorithm_8(n, m):
    """The encoder-decoder's probabilities are EDTransformer's, to 1e-8."""
    model, source, target = build("encoder-decoder"), torch.randint(VOCAB, (1, m)), torch.randint(VOCAB, (1, n))
    expected = ed_transformer(source[0].numpy(), x=target[0].numpy(), theta=ed_theta(model), eps=EPS)
    close(model(source, target), expected)


def sgd(model, losses, eta):
    """One step of gradient descent for each loss, by autograd."""
    for loss in losses:
        model.zero_grad()
        loss(model).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= eta * parameter.grad


def same(found, expected):
    from variorum.explain.formal.gradient import arrays

    for a, b in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-8)


@pytest.mark.row(SLUG, 1)
def test_training_the_decoder_is_algorithm_13():
    """Five SGD steps of the library's decoder by autograd move every parameter as DTraining does, to 1e-8."""
    model = build("decoder", dim=4, depth=1, length=5)
    x = [torch.randint(VOCAB, (n,)) for n in (5, 2, 3, 4, 5)]
    step = partial(d_transformer, eps=EPS)
    expected = d_training(tuple(t.numpy() for t in x), theta=d_theta(model), N_epochs=1, eta=0.1, transformer=step)
    sgd(model, [lambda m, t=t: -m(t[None])[0].log_softmax(-1)[:-1].gather(1, t[1:, None]).sum() for t in x], 0.1)
    same(d_theta(model), expected)


@pytest.mark.row(SLUG, 1)
def test_training_the_encoder_is_algorithm_12():
    """Five SGD steps of the library's encoder on masked tokens move every parameter as ETraining does, to 1e-8."""
    model, mask = build("encoder", dim=4, depth=1, length=5), VOCAB - 1
    x = [torch.randint(VOCAB - 1, (n,)) for n in (5, 4, 5, 4, 5)]
    step = partial(e_transformer, eps=EPS)
    expected = e_training(tuple(t.numpy() for t in x), theta=e_theta(model), N_epochs=1, eta=0.1, p_mask=0.5,
                          mask_token=mask, rng=np.random.default_rng(3), transformer=step)  # fmt: skip
    rng, losses = np.random.default_rng(3), []
    for t in x:
        hidden = torch.from_numpy(rng.random(len(t)) < 0.5)
        seen = t.masked_fill(hidden, mask)
        losses.append(lambda m, t=t, seen=seen, hidden=hidden: -(
            m(seen[None])[0].log_softmax(-1).gather(1, t[:, None])[hidden]).sum())  # fmt: skip
    sgd(model, losses, 0.1)
    same(e_theta(model), expected)
