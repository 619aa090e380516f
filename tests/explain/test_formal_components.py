"""Algorithms 1 to 7 of Phuong and Hutter against torch.nn.functional in float64, on random sizes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from variorum.core.errors import VariorumError
from variorum.explain.formal.attention import attention, mh_attention, single_query_attention
from variorum.explain.formal.embedding import positional_embedding, token_embedding, unembedding
from variorum.explain.formal.masks import unidirectional
from variorum.explain.formal.nonlinearities import gelu, gelu_tanh, relu, softmax
from variorum.explain.formal.normalization import layer_norm
from variorum.explain.formal.samples import Sampler, arguments

SEEDS = range(5)


def tensor(array):
    return torch.from_numpy(np.array(array))


def close(found, expected):
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-12)


def sampled(formula, seed):
    return arguments(formula, sampler=Sampler(np.random.default_rng(seed)))


def head_of_torch(X, *, Z, W_qkv, mask):
    """One head by torch's own attention, which has tokens as rows."""
    X, Z = tensor(X).T, tensor(Z).T
    q, k, v = (
        F.linear(rows, tensor(W), tensor(b))[None]
        for rows, W, b in ((X, W_qkv.W_q, W_qkv.b_q), (Z, W_qkv.W_k, W_qkv.b_k), (Z, W_qkv.W_v, W_qkv.b_v))
    )
    return F.scaled_dot_product_attention(q, k, v, attn_mask=tensor(mask).T)[0].T


@pytest.mark.parametrize("seed", SEEDS)
def test_algorithm_1_is_a_lookup(seed):
    given = sampled(token_embedding, seed)
    close(token_embedding(given["v"], W_e=given["W_e"]), F.embedding(torch.tensor(given["v"]), tensor(given["W_e"]).T))


@pytest.mark.parametrize("seed", SEEDS)
def test_algorithm_2_is_a_lookup(seed):
    given = sampled(positional_embedding, seed)
    expected = F.embedding(torch.tensor(given["t"]), tensor(given["W_p"]).T)
    close(positional_embedding(given["t"], W_p=given["W_p"]), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_algorithm_3_is_attention_of_one_query(seed):
    given = sampled(single_query_attention, seed)
    e, context, W_qkv = given["e"], given["context"], given["W_qkv"]
    mask = np.ones((context.shape[1], 1), dtype=bool)
    expected = head_of_torch(e[:, None], Z=context, W_qkv=W_qkv, mask=mask)[:, 0]
    close(single_query_attention(e, context=context, W_qkv=W_qkv), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_algorithm_4_is_masked_cross_attention(seed):
    given = sampled(attention, seed)
    close(attention(given["X"], Z=given["Z"], W_qkv=given["W_qkv"], mask=given["mask"]),
          head_of_torch(**given))  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_algorithm_5_joins_its_heads(seed):
    given = sampled(mh_attention, seed)
    X, Z, W, mask = given["X"], given["Z"], given["W"], given["mask"]
    heads = torch.cat([head_of_torch(X, Z=Z, W_qkv=W_qkv, mask=mask) for W_qkv in W.W_qkv])
    close(mh_attention(X, Z=Z, W=W, mask=mask), F.linear(heads.T, tensor(W.W_o), tensor(W.b_o)).T)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
def test_algorithm_6_is_layer_normalisation(seed, eps):
    given = sampled(layer_norm, seed)
    e, gamma, beta = given["e"], given["gamma"], given["beta"]
    expected = F.layer_norm(tensor(e), e.shape, tensor(gamma), tensor(beta), eps=eps)
    close(layer_norm(e, gamma=gamma, beta=beta, eps=eps), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_algorithm_7_is_a_softmax(seed):
    given = sampled(unembedding, seed)
    close(unembedding(given["e"], W_u=given["W_u"]), F.softmax(tensor(given["W_u"]) @ tensor(given["e"]), dim=0))


def test_nonlinearities():
    x = np.linspace(-6, 6, 101)
    close(relu(x), F.relu(tensor(x)))
    close(gelu(x), F.gelu(tensor(x)))
    close(gelu_tanh(x), F.gelu(tensor(x), approximate="tanh"))


def test_softmax_does_not_overflow():
    np.testing.assert_allclose(softmax(np.array([1000.0, 1000.0, -1000.0])), [0.5, 0.5, 0.0])


def test_the_unidirectional_mask_is_triangular():
    assert unidirectional(3).tolist() == [[True, True, True], [False, True, True], [False, False, True]]


def test_a_query_that_sees_nothing_is_refused():
    given = sampled(attention, 0)
    given["mask"][:, 1] = False
    with pytest.raises(VariorumError, match=r"none in column 1"):
        attention(given.pop("X"), **given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Z": np.zeros((9, 4))}, r"axis 1 of W_qkv\.W_k in Algorithm 4.*expected d_z = 9"),
        ({"Z": np.zeros((4, 4), dtype=np.float32)}, "Z in Algorithm 4.*complex128 or float64, found float32"),
        ({"mask": np.ones((4, 4, 1), dtype=bool)}, r"mask in Algorithm 4.*2 axes \(l_z, l_x\)"),
        ({"W_qkv": None}, "W_qkv in Algorithm 4.*expected a Head, found a NoneType"),
    ],
)
def test_a_wrong_shape_is_named(change, message):
    sampler = Sampler(np.random.default_rng(0), sizes={"d_z": 4, "l_z": 4, "l_x": 4})
    given = arguments(attention, sampler=sampler) | change
    with pytest.raises(VariorumError, match=message):
        attention(given.pop("X"), **given)


def test_a_token_outside_the_vocabulary_is_named():
    with pytest.raises(VariorumError, match=r"v in Algorithm 1.*from 0 to N_V - 1 = 4, found -1"):
        token_embedding(-1, W_e=np.zeros((3, 5)))


def test_a_product_of_sizes_is_held():
    given = sampled(mh_attention, 0)
    W = given["W"]
    given["W"] = type(W)(W_qkv=W.W_qkv[:-1], W_o=W.W_o, b_o=W.b_o)
    with pytest.raises(VariorumError, match=r"axis 1 of W.W_o in Algorithm 5.*H\*d_mid"):
        mh_attention(given.pop("X"), **given)
