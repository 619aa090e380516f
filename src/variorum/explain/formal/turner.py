"""Turner 2023, "An Introduction to Transformers" (arXiv:2304.10557): the body of the Transformer, token by token.

The N tokens of a sequence are the columns x_n of X in R^(D x N). A[n', n] is how much token n takes from token n'. The
note trains nothing, has no biases in its attention and no constant in its normalisation (``eps``, 0 by default).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from variorum.explain.formal.formula import formula
from variorum.explain.formal.masks import bidirectional, require_sight, unidirectional
from variorum.explain.formal.nonlinearities import gelu, softmax
from variorum.explain.formal.shapes import Array, Bit, Real, Size

Nonlinearity = Callable[[Array], Array]


@dataclass(frozen=True)
class Head:
    """One attention head. V = V_out V_in is a D x D matrix of rank K at most."""

    U_q: Real[Array, "K D"]
    U_k: Real[Array, "K D"]
    V_in: Real[Array, "K D"]
    V_out: Real[Array, "D K"]


@dataclass(frozen=True)
class Block:
    """The parameters of one Transformer block."""

    heads: Annotated[tuple[Head, ...], Size("H")]
    gamma_1: Real[Array, "D"]
    beta_1: Real[Array, "D"]
    W_1: Real[Array, "F D"]
    b_1: Real[Array, "F"]
    W_2: Real[Array, "D F"]
    b_2: Real[Array, "D"]
    gamma_2: Real[Array, "D"]
    beta_2: Real[Array, "D"]


Blocks = Annotated[tuple[Block, ...], Size("M")]


@formula("layer-normalisation", title="Layer normalisation")
def layer_norm(
    X: Real[Array, "D N"], *, gamma: Real[Array, "D"], beta: Real[Array, "D"], eps: float = 0.0
) -> Real[Array, "D N"]:
    """Every token by itself is brought to mean 0 and variance 1, every feature then scaled and shifted.

        mean(x_n) = 1/D sum_d x_{d,n}
        var(x_n)  = 1/D sum_d (x_{d,n} - mean(x_n))^2
        LN(X)_{d,n} = (x_{d,n} - mean(x_n)) / sqrt(var(x_n) + eps) γ_d + β_d

    ``eps`` is what implementations add to the variance; the note adds nothing.
    """
    D, N = X.shape
    normed = np.empty_like(X)
    for n in range(N):
        mean = sum(X[d, n] for d in range(D)) / D
        var = sum((X[d, n] - mean) ** 2 for d in range(D)) / D
        for d in range(D):
            normed[d, n] = (X[d, n] - mean) / np.sqrt(var + eps) * gamma[d] + beta[d]
    return normed


@formula("set-mask", title="No mask: the set view")
def set_mask(N: Annotated[int, Size("N")]) -> Bit[Array, "N N"]:
    """Every token may take from every token: permuting the tokens permutes what comes out, nothing else."""
    return bidirectional(N, l_x=N)


@formula("auto-regressive-mask", title="Auto-regressive mask")
def auto_regressive_mask(N: Annotated[int, Size("N")]) -> Bit[Array, "N N"]:
    """Token n may take from itself and from what precedes it: A[n', n] = 0 where n' > n."""
    return unidirectional(N)


@formula("attention-matrix", title="Attention matrix")
def attention_matrix(X: Real[Array, "D N"], *, head: Head, mask: Bit[Array, "N N"]) -> Real[Array, "N N"]:
    """How much token n takes from token n'.

        A[n', n] = exp(x_n'^T U_k^T U_q x_n / sqrt K) / sum_{n''} exp(x_n''^T U_k^T U_q x_n / sqrt K)

    The sum runs over what the mask lets token n see; A is 0 elsewhere, and every column sums to 1. A token
    that sees nothing raises :class:`~variorum.core.errors.VariorumError`.
    """
    require_sight(mask)
    K, N = len(head.U_q), X.shape[1]
    A = np.zeros((N, N), dtype=X.dtype)
    for n in range(N):
        seen = [n_ for n_ in range(N) if mask[n_, n]]
        A[seen, n] = softmax(np.array([X[:, n_] @ head.U_k.T @ head.U_q @ X[:, n] / np.sqrt(K) for n_ in seen]))
    return A


@formula("self-attention", title="Stage 1: self-attention across the sequence")
def self_attention(X: Real[Array, "D N"], *, A: Real[Array, "N N"]) -> Real[Array, "D N"]:
    """Every token becomes an average of all tokens.

        y_n = sum_{n'} x_n' A[n', n]

    In matrices, Y = X A.
    """
    Y = np.zeros_like(X)
    for n in range(X.shape[1]):
        for n_ in range(X.shape[1]):
            Y[:, n] += X[:, n_] * A[n_, n]
    return Y


@formula("multi-head-self-attention", title="Multi-head self-attention")
def mhsa(
    X: Real[Array, "D N"], *, heads: Annotated[tuple[Head, ...], Size("H")], mask: Bit[Array, "N N"]
) -> Real[Array, "D N"]:
    """Several attentions in parallel, each with an attention matrix of its own, projected and added.

        y_n = sum_h V^(h) sum_{n'} x_n' A^(h)[n', n]

    V^(h) = V_out^(h) V_in^(h) is D × D and, as a product of D × K and K × D, of rank K at most.
    """
    Y = np.zeros_like(X)
    for head in heads:
        mixed = self_attention(X, A=attention_matrix(X, head=head, mask=mask))
        V = head.V_out @ head.V_in
        for n in range(X.shape[1]):
            Y[:, n] += V @ mixed[:, n]
    return Y


@formula("mlp", title="Stage 2: multi-layer perceptron across features")
def mlp(X: Real[Array, "D N"], *, block: Block, nonlinearity: Nonlinearity = gelu) -> Real[Array, "D N"]:
    """The same two-layer perceptron for every token.

        MLP(x_n) = W_2 σ(W_1 x_n + b_1) + b_2

    The note leaves the nonlinearity σ open; GELU is the default here.
    """
    Y = np.zeros_like(X)
    for n in range(X.shape[1]):
        Y[:, n] = block.W_2 @ nonlinearity(block.W_1 @ X[:, n] + block.b_1) + block.b_2
    return Y


@formula("transformer-block", title="Transformer block")
def transformer_block(
    X: Real[Array, "D N"],
    *,
    block: Block,
    mask: Bit[Array, "N N"],
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> Real[Array, "D N"]:
    """Both stages, each a correction of what it reads (residual) and each reading it normalised.

        Y       = X + MHSA(LN(X))
        X^(new) = Y + MLP(LN(Y))

    The two normalisations have parameters of their own.
    """
    Y = X + mhsa(layer_norm(X, gamma=block.gamma_1, beta=block.beta_1, eps=eps), heads=block.heads, mask=mask)
    normed = layer_norm(Y, gamma=block.gamma_2, beta=block.beta_2, eps=eps)
    return Y + mlp(normed, block=block, nonlinearity=nonlinearity)


@formula("transformer", title="Transformer")
def transformer(
    X: Real[Array, "D N"],
    *,
    blocks: Blocks,
    mask: Bit[Array, "N N"],
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> Real[Array, "D N"]:
    """M blocks, one after the other.

        X^(m) = transformer-block_m(X^(m-1))      for m = 1, ..., M

    The note puts no normalisation after the last block.
    """
    for block in blocks:
        X = transformer_block(X, block=block, mask=mask, nonlinearity=nonlinearity, eps=eps)
    return X
