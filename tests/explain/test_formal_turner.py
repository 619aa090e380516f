"""Turner's note against torch's pre-norm encoder layer in float64, and the properties that the note states."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain.formal_weights import randomize, turner_block
from variorum.core.errors import VariorumError
from variorum.explain.formal import turner, turner_ends, turner_incremental
from variorum.explain.formal.nonlinearities import gelu, relu
from variorum.explain.formal.samples import Sampler, arguments, parameters

SEEDS = range(4)
SIZES = {"D": 12, "K": 4, "H": 3, "F": 20, "N": 7, "M": 3, "N_max": 16}


def tensor(array):
    return torch.from_numpy(np.array(array))


def close(found, expected, *, atol=1e-12):
    np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=atol)


def sampled(formula, seed, **sizes):
    return arguments(formula, sampler=Sampler(np.random.default_rng(seed), sizes=sizes))


def body(seed):
    """Random tokens and three random blocks."""
    sampler = Sampler(np.random.default_rng(seed), sizes=SIZES)
    blocks = tuple(parameters(turner.Block, sampler=sampler) for _ in range(3))
    return sampler.rng.normal(size=(12, 7)), blocks, sampler.rng


def encoder_layers(*, heads, activation, eps):
    layers = [
        nn.TransformerEncoderLayer(
            12, heads, 20, dropout=0.0, activation=activation, layer_norm_eps=eps, norm_first=True, batch_first=True,
            dtype=torch.float64,
        ).eval()
        for _ in range(3)
    ]  # fmt: skip
    for seed, layer in enumerate(layers):
        randomize(layer, seed=seed)
        layer.self_attn.in_proj_bias.data.zero_()
        layer.self_attn.out_proj.bias.data.zero_()
    return layers


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_position_embedding_adds_a_column_to_every_token(seed):
    given = sampled(turner_ends.with_positions, seed, N=4, N_max=6)
    close(turner_ends.with_positions(given["X"], P=given["P"]), given["X"] + given["P"][:, :4])


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_class_token_stands_first(seed):
    given = sampled(turner_ends.with_class_token, seed)
    X = turner_ends.with_class_token(given["X"], x_0=given["x_0"])
    close(X[:, 0], given["x_0"])
    close(X[:, 1:], given["X"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_turner_layer_normalisation_is_torchs(seed, eps):
    given = sampled(turner.layer_norm, seed)
    X, gamma, beta = given["X"], given["gamma"], given["beta"]
    expected = F.layer_norm(tensor(X).T, (len(X),), tensor(gamma), tensor(beta), eps=eps).T
    close(turner.layer_norm(X, gamma=gamma, beta=beta, eps=eps), expected)


def test_turner_set_mask_shows_everything():
    assert turner.set_mask(3).all()


def test_turner_auto_regressive_mask_shows_what_precedes():
    assert turner.auto_regressive_mask(3).tolist() == [[True, True, True], [False, True, True], [False, False, True]]


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_attention_matrix_is_a_masked_softmax_over_its_columns(seed):
    given = sampled(turner.attention_matrix, seed)
    X, head, mask = given["X"], given["head"], given["mask"]
    scores = tensor(X).T @ tensor(head.U_k).T @ tensor(head.U_q) @ tensor(X) / len(head.U_q) ** 0.5
    A = turner.attention_matrix(X, head=head, mask=mask)
    close(A, scores.masked_fill(~tensor(mask), -torch.inf).softmax(dim=0))
    close(A.sum(axis=0), np.ones(X.shape[1]))
    assert not A[~mask].any()


def test_turner_attention_matrix_refuses_a_token_that_sees_nothing():
    given = sampled(turner.attention_matrix, 0)
    given["mask"][:] = False
    with pytest.raises(VariorumError, match="none in column 0"):
        turner.attention_matrix(given.pop("X"), **given)


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_self_attention_is_a_matrix_product(seed):
    given = sampled(turner.self_attention, seed)
    close(turner.self_attention(given["X"], A=given["A"]), given["X"] @ given["A"])


@pytest.mark.parametrize("causal", [False, True])
def test_turner_multi_head_self_attention_is_torchs(causal):
    [layer, *_] = encoder_layers(heads=3, activation="relu", eps=1e-5)
    X = np.random.default_rng(0).normal(size=(12, 7))
    mask = (turner.auto_regressive_mask if causal else turner.set_mask)(7)
    rows = tensor(X).T[None]
    expected, _ = layer.self_attn(rows, rows, rows, attn_mask=~tensor(mask).T)
    close(turner.mhsa(X, heads=turner_block(layer).heads, mask=mask), expected[0].T.detach())


def test_turner_multi_head_self_attention_projects_to_rank_k():
    [head, *_] = body(0)[1][0].heads
    assert np.linalg.matrix_rank(head.V_out @ head.V_in) == 4


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_mlp_treats_every_token_alike(seed):
    given = sampled(turner.mlp, seed)
    X, block = given["X"], given["block"]
    hidden = F.gelu(F.linear(tensor(X).T, tensor(block.W_1), tensor(block.b_1)))
    close(turner.mlp(X, block=block), F.linear(hidden, tensor(block.W_2), tensor(block.b_2)).T)


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("activation", "nonlinearity"), [("relu", relu), ("gelu", gelu)])
@pytest.mark.parametrize("heads", [1, 3])
def test_turner_transformer_block_is_torchs_pre_norm_layer(causal, activation, nonlinearity, heads):
    [layer, *_] = encoder_layers(heads=heads, activation=activation, eps=1e-5)
    X = np.random.default_rng(1).normal(size=(12, 7))
    mask = (turner.auto_regressive_mask if causal else turner.set_mask)(7)
    expected = layer(tensor(X).T[None], src_mask=~tensor(mask).T)[0].T
    found = turner.transformer_block(X, block=turner_block(layer), mask=mask, nonlinearity=nonlinearity, eps=1e-5)
    close(found, expected, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_turner_transformer_is_a_stack_of_torchs_layers(causal):
    layers = encoder_layers(heads=3, activation="gelu", eps=1e-5)
    X = np.random.default_rng(2).normal(size=(12, 7))
    mask = (turner.auto_regressive_mask if causal else turner.set_mask)(7)
    rows = tensor(X).T[None]
    for layer in layers:
        rows = layer(rows, src_mask=~tensor(mask).T)
    found = turner.transformer(X, blocks=tuple(map(turner_block, layers)), mask=mask, eps=1e-5)
    close(found, rows[0].T, atol=1e-10)


def test_turner_transformer_commutes_with_permutations_until_positions_are_added():
    X, blocks, rng = body(0)
    P = rng.normal(size=(12, 16))
    mask = turner.set_mask(7)
    plain = turner.transformer(X, blocks=blocks, mask=mask)
    placed = turner.transformer(turner_ends.with_positions(X, P=P), blocks=blocks, mask=mask)
    for _ in range(20):
        order = rng.permutation(7)
        assert not np.array_equal(order, np.arange(7))
        permuted = np.ascontiguousarray(X[:, order])
        close(turner.transformer(permuted, blocks=blocks, mask=mask), plain[:, order], atol=1e-10)
        replaced = turner.transformer(turner_ends.with_positions(permuted, P=P), blocks=blocks, mask=mask)
        assert np.abs(replaced - placed[:, order]).max() > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_transformer_does_not_look_ahead_under_the_auto_regressive_mask(seed):
    X, blocks, rng = body(seed)
    mask = turner.auto_regressive_mask(7)
    before = turner.transformer(X, blocks=blocks, mask=mask)
    for n in range(1, 7):
        changed = X.copy()
        changed[:, n:] = rng.normal(size=(12, 7 - n))
        after = turner.transformer(changed, blocks=blocks, mask=mask)
        close(after[:, :n], before[:, :n])
        assert np.abs(after[:, n:] - before[:, n:]).max() > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_incremental_attention_is_a_column_of_masked_attention(seed):
    X, blocks, _ = body(seed)
    heads = blocks[0].heads[:1]
    cache = turner_incremental.empty_caches(blocks)[0][0]
    parallel = turner.mhsa(X, heads=heads, mask=turner.auto_regressive_mask(7))
    for n in range(7):
        y, cache = turner_incremental.incremental_head(X[:, n].copy(), head=heads[0], cache=cache)
        close(y, parallel[:, n])
        assert cache.keys.shape == cache.values.shape == (4, n + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_incremental_transformer_is_the_parallel_pass_for_every_prefix(seed):
    X, blocks, _ = body(seed)
    caches = turner_incremental.empty_caches(blocks)
    for n in range(7):
        prefix = np.ascontiguousarray(X[:, : n + 1])
        parallel = turner.transformer(prefix, blocks=blocks, mask=turner.auto_regressive_mask(n + 1))
        column, caches = turner_incremental.incremental_transformer(X[:, n].copy(), blocks=blocks, caches=caches)
        close(column, parallel[:, -1], atol=1e-10)


def test_turner_empty_cache_has_no_columns():
    _, blocks, _ = body(0)
    caches = turner_incremental.empty_caches(blocks)
    assert [[cache.keys.shape for cache in heads] for heads in caches] == [[(4, 0)] * 3] * 3


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_token_head_is_a_softmax(seed):
    given = sampled(turner_ends.token_head, seed)
    close(turner_ends.token_head(given["x"], G=given["G"]), F.softmax(tensor(given["G"]) @ tensor(given["x"]), dim=0))


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_class_token_head_reads_the_class_token(seed):
    X, blocks, rng = body(seed)
    G, x_0 = rng.normal(size=(5, 12)), rng.normal(size=12)
    extended = turner_ends.with_class_token(X, x_0=x_0)
    out = turner.transformer(extended, blocks=blocks, mask=turner.set_mask(8))
    p = turner_ends.class_token_head(out, G=G)
    close(p, F.softmax(tensor(G) @ tensor(out[:, 0]), dim=0))
    shuffled = np.concatenate([extended[:, :1], extended[:, :0:-1]], axis=1)
    close(turner_ends.class_token_head(turner.transformer(shuffled, blocks=blocks, mask=turner.set_mask(8)), G=G), p,
          atol=1e-10)  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_turner_pooling_head_reads_the_average(seed):
    X, _, rng = body(seed)
    G = rng.normal(size=(5, 12))
    p = turner_ends.pooling_head(X, G=G)
    close(p, F.softmax(tensor(G) @ tensor(X).mean(dim=1), dim=0))
    close(turner_ends.pooling_head(X[:, ::-1], G=G), p)
