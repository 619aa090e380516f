"""Algorithms 8, 9 and 10 of Phuong and Hutter 2022 (arXiv:2207.09238): the three Transformers.

``eps`` goes to every layer normalisation and is 0 in the paper.
"""

from collections.abc import Callable, Iterable
from typing import Annotated

import numpy as np

from variorum.core.errors import VariorumError
from variorum.explain.formal.attention import mh_attention
from variorum.explain.formal.embedding import positional_embedding, token_embedding, unembedding
from variorum.explain.formal.formula import algorithm
from variorum.explain.formal.masks import bidirectional, unidirectional
from variorum.explain.formal.nonlinearities import gelu, relu
from variorum.explain.formal.normalization import layer_norm
from variorum.explain.formal.parameters import DTheta, EDTheta, ETheta
from variorum.explain.formal.shapes import Array, Below, Index, Real

Nonlinearity = Callable[[Array], Array]


def columns(vectors: Iterable[Array]) -> Array:
    """The matrix [e_1, e_2, ..., e_l] of some vectors; none at all raise :class:`VariorumError`."""
    vectors = list(vectors)
    if not vectors:
        raise VariorumError("sequence", expected="at least one token", found="none", do="Give a token to start from.")
    return np.stack(vectors, axis=1)


def embedded(x: Array, *, W_e: Array, W_p: Array) -> Array:
    """[e_1, ..., e_l] with e_t = W_e[:, x[t]] + W_p[:, t]."""
    return columns(token_embedding(int(x[t]), W_e=W_e) + positional_embedding(t, W_p=W_p) for t in range(len(x)))


def normalized(X: Array, *, gamma: Array, beta: Array, eps: float) -> Array:
    """for t in [l]: X[:, t] <- layer_norm(X[:, t] | gamma, beta)."""
    return columns(layer_norm(X[:, t], gamma=gamma, beta=beta, eps=eps) for t in range(X.shape[1]))


def distributions(X: Array, *, W_u: Array) -> Array:
    """P = softmax(W_u X), column by column."""
    return columns(unembedding(X[:, t], W_u=W_u) for t in range(X.shape[1]))


@algorithm(8, title="P ← EDTransformer(z, x | θ)")
def ed_transformer(
    z: Annotated[Index[Array, "l_z"], Below("N_V")],
    *,
    x: Annotated[Index[Array, "l_x"], Below("N_V")],
    theta: EDTheta,
    nonlinearity: Nonlinearity = relu,
    eps: float = 0.0,
) -> Real[Array, "N_V l_x"]:
    """The encoder-decoder: column t of P is the distribution of x[t + 1] given x[1..t] and all of z.

    Encode the context, for every encoder layer:

        Z = Z + MHAttention(Z, Z | W, Mask = 1)                then layer_norm(γ_1, β_1)
        Z = Z + W_mlp2 ReLU(W_mlp1 Z + b_mlp1 1^T) + b_mlp2 1^T        then layer_norm(γ_2, β_2)

    Decode, for every decoder layer:

        X = X + MHAttention(X, X | W_dec, Mask = [[t <= t']])  then layer_norm(γ_3, β_3)
        X = X + MHAttention(X, Z | W_ed, Mask = 1)             then layer_norm(γ_4, β_4)
        X = X + W_mlp4 ReLU(W_mlp3 X + b_mlp3 1^T) + b_mlp4 1^T        then layer_norm(γ_5, β_5)

        P = softmax(W_u X)
    """
    l_z, l_x = len(z), len(x)
    Z = embedded(z, W_e=theta.W_e, W_p=theta.W_p)
    for layer in theta.encoder:
        Z = Z + mh_attention(Z, Z=Z, W=layer.W, mask=bidirectional(l_z, l_x=l_z))
        Z = normalized(Z, gamma=layer.gamma_1, beta=layer.beta_1, eps=eps)
        Z = Z + layer.W_mlp2 @ nonlinearity(layer.W_mlp1 @ Z + layer.b_mlp1[:, None]) + layer.b_mlp2[:, None]
        Z = normalized(Z, gamma=layer.gamma_2, beta=layer.beta_2, eps=eps)
    X = embedded(x, W_e=theta.W_e, W_p=theta.W_p)
    for layer in theta.decoder:
        X = X + mh_attention(X, Z=X, W=layer.W_dec, mask=unidirectional(l_x))
        X = normalized(X, gamma=layer.gamma_3, beta=layer.beta_3, eps=eps)
        X = X + mh_attention(X, Z=Z, W=layer.W_ed, mask=bidirectional(l_z, l_x=l_x))
        X = normalized(X, gamma=layer.gamma_4, beta=layer.beta_4, eps=eps)
        X = X + layer.W_mlp4 @ nonlinearity(layer.W_mlp3 @ X + layer.b_mlp3[:, None]) + layer.b_mlp4[:, None]
        X = normalized(X, gamma=layer.gamma_5, beta=layer.beta_5, eps=eps)
    return distributions(X, W_u=theta.W_u)


@algorithm(9, title="P ← ETransformer(x | θ)")
def e_transformer(
    x: Annotated[Index[Array, "l"], Below("N_V")],
    *,
    theta: ETheta,
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> Real[Array, "N_V l"]:
    """The encoder, as BERT: column t of P is a distribution over the vocabulary for position t, given all of x.

    For every layer:

        X = X + MHAttention(X, X | W, Mask = 1)                        then layer_norm(γ_1, β_1)
        X = X + W_mlp2 GELU(W_mlp1 X + b_mlp1 1^T) + b_mlp2 1^T        then layer_norm(γ_2, β_2)

    At last:

        X = GELU(W_f X + b_f 1^T)                                      then layer_norm(γ, β)
        P = softmax(W_u X)
    """
    length = len(x)
    X = embedded(x, W_e=theta.W_e, W_p=theta.W_p)
    if theta.gamma_0 is not None and theta.beta_0 is not None:
        X = normalized(X, gamma=theta.gamma_0, beta=theta.beta_0, eps=eps)
    for layer in theta.layers:
        X = X + mh_attention(X, Z=X, W=layer.W, mask=bidirectional(length, l_x=length))
        X = normalized(X, gamma=layer.gamma_1, beta=layer.beta_1, eps=eps)
        X = X + layer.W_mlp2 @ nonlinearity(layer.W_mlp1 @ X + layer.b_mlp1[:, None]) + layer.b_mlp2[:, None]
        X = normalized(X, gamma=layer.gamma_2, beta=layer.beta_2, eps=eps)
    X = nonlinearity(theta.W_f @ X + theta.b_f[:, None])
    X = normalized(X, gamma=theta.gamma, beta=theta.beta, eps=eps)
    return distributions(X, W_u=theta.W_u)


@algorithm(10, title="P ← DTransformer(x | θ)")
def d_transformer(
    x: Annotated[Index[Array, "l"], Below("N_V")],
    *,
    theta: DTheta,
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> Real[Array, "N_V l"]:
    """The decoder, as GPT: column t of P is the distribution of x[t + 1] given x[1..t].

    For every layer:

        X̃ = layer_norm(X | γ_1, β_1)  column by column
        X = X + MHAttention(X̃, X̃ | W, Mask = [[t <= t']])
        X̃ = layer_norm(X | γ_2, β_2)  column by column
        X = X + W_mlp2 GELU(W_mlp1 X̃ + b_mlp1 1^T) + b_mlp2 1^T

    At last:

        X = layer_norm(X | γ, β)  column by column
        P = softmax(W_u X)
    """
    length = len(x)
    X = embedded(x, W_e=theta.W_e, W_p=theta.W_p)
    for layer in theta.layers:
        X_ = normalized(X, gamma=layer.gamma_1, beta=layer.beta_1, eps=eps)
        X = X + mh_attention(X_, Z=X_, W=layer.W, mask=unidirectional(length))
        X_ = normalized(X, gamma=layer.gamma_2, beta=layer.beta_2, eps=eps)
        X = X + layer.W_mlp2 @ nonlinearity(layer.W_mlp1 @ X_ + layer.b_mlp1[:, None]) + layer.b_mlp2[:, None]
    X = normalized(X, gamma=theta.gamma, beta=theta.beta, eps=eps)
    return distributions(X, W_u=theta.W_u)
