"""Turner 2023, "An Introduction to Transformers" (arXiv:2304.10557): the note's formulas, token by token.

The N tokens of a sequence are the columns x_n of X in R^{D x N}. A[n', n] is how much token n takes from token n'. The
note trains nothing, has no biases in its attention and no constant in its normalisation (``eps``, 0 by default).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool

from variorum.explain.formal.formula import formula
from variorum.explain.formal.nonlinearities import gelu, softmax
from variorum.explain.formal.shapes import Array, Real, Size

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


@dataclass(frozen=True)
class HeadCache:
    """What a head keeps of the tokens it has seen: keys k_n = U_k x_n and values v_n = V_in x_n, as columns."""

    keys: Real[Array, "K N"]
    values: Real[Array, "K N"]


Blocks = Annotated[tuple[Block, ...], Size("M")]
Caches = Annotated[tuple[Annotated[tuple[HeadCache, ...], Size("H")], ...], Size("M")]
LongerCaches = Annotated[tuple[Annotated[tuple[Annotated[HeadCache, {"N": "_"}], ...], Size("H")], ...], Size("M")]


@formula("position-embedding", title="Position embedding")
def with_positions(X: Real[Array, "D N"], *, P: Real[Array, "D N_max"]) -> Real[Array, "D N"]:
    """Without it the Transformer sees a set; a learned vector for every place makes it a sequence.

        x_n = x_n + p_n
    """
    return np.stack([X[:, n] + P[:, n] for n in range(X.shape[1])], axis=1)


@formula("class-token", title="Class token")
def with_class_token(X: Real[Array, "D N"], *, x_0: Real[Array, "D"]) -> Real[Array, "D _"]:
    """A learned token that stands for the whole sequence, put before it: N + 1 tokens.

        X = [x_0, x_1, ..., x_N]
    """
    return np.stack([x_0, *(X[:, n] for n in range(X.shape[1]))], axis=1)


@formula("layer-normalisation", title="Layer normalisation")
def layer_norm(
    X: Real[Array, "D N"], *, gamma: Real[Array, "D"], beta: Real[Array, "D"], eps: float = 0.0
) -> Real[Array, "D N"]:
    """Every token by itself is brought to mean 0 and variance 1, every feature then scaled and shifted.

        mean(x_n) = 1/D sum_d x_{d,n}
        var(x_n)  = 1/D sum_d (x_{d,n} - mean(x_n))^2
        LN(X)_{d,n} = (x_{d,n} - mean(x_n)) / sqrt(var(x_n) + eps) γ_d + β_d
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
def set_mask(N: Annotated[int, Size("N")]) -> Bool[Array, "N N"]:
    """Every token may take from every token: permuting the tokens permutes what comes out, nothing else."""
    return np.ones((N, N), dtype=bool)


@formula("auto-regressive-mask", title="Auto-regressive mask")
def auto_regressive_mask(N: Annotated[int, Size("N")]) -> Bool[Array, "N N"]:
    """Token n may take from itself and from what precedes it: A[n', n] = 0 where n' > n."""
    return np.array([[n_ <= n for n in range(N)] for n_ in range(N)])


@formula("attention-matrix", title="Attention matrix")
def attention_matrix(X: Real[Array, "D N"], *, head: Head, mask: Bool[Array, "N N"]) -> Real[Array, "N N"]:
    """How much token n takes from token n'; a column sums to 1, and is 0 where the mask is.

        A[n', n] = exp(x_n'^T U_k^T U_q x_n / sqrt K) / sum_{n''} exp(x_n''^T U_k^T U_q x_n / sqrt K)
    """
    K, N = len(head.U_q), X.shape[1]
    A = np.zeros((N, N), dtype=X.dtype)
    for n in range(N):
        seen = [n_ for n_ in range(N) if mask[n_, n]]
        A[seen, n] = softmax(
            np.array([X[:, n_] @ head.U_k.T @ head.U_q @ X[:, n] / np.sqrt(K) for n_ in seen])
        )
    return A


@formula("self-attention", title="Stage 1: self-attention across the sequence")
def self_attention(X: Real[Array, "D N"], *, A: Real[Array, "N N"]) -> Real[Array, "D N"]:
    """Every token becomes an average of all tokens, Y = X A.

        y_n = sum_{n'} x_n' A[n', n]
    """
    Y = np.zeros_like(X)
    for n in range(X.shape[1]):
        for n_ in range(X.shape[1]):
            Y[:, n] += X[:, n_] * A[n_, n]
    return Y


@formula("multi-head-self-attention", title="Multi-head self-attention")
def mhsa(
    X: Real[Array, "D N"], *, heads: Annotated[tuple[Head, ...], Size("H")], mask: Bool[Array, "N N"]
) -> Real[Array, "D N"]:
    """Several attentions in parallel, each seen through a matrix V^(h) = V_out^(h) V_in^(h) of rank K.

        y_n = sum_h V^(h) sum_{n'} x_n' A^(h)[n', n]
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
    mask: Bool[Array, "N N"],
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> Real[Array, "D N"]:
    """Both stages, each a correction of what it reads (residual) and each reading it normalised.

        Y       = X + MHSA(LN(X))
        X^(new) = Y + MLP(LN(Y))
    """
    Y = X + mhsa(layer_norm(X, gamma=block.gamma_1, beta=block.beta_1, eps=eps), heads=block.heads, mask=mask)
    normed = layer_norm(Y, gamma=block.gamma_2, beta=block.beta_2, eps=eps)
    return Y + mlp(normed, block=block, nonlinearity=nonlinearity)


@formula("transformer", title="Transformer")
def transformer(
    X: Real[Array, "D N"],
    *,
    blocks: Blocks,
    mask: Bool[Array, "N N"],
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> Real[Array, "D N"]:
    """M blocks, one after the other.

        X^(m) = transformer-block_m(X^(m-1))      for m = 1, ..., M
    """
    for block in blocks:
        X = transformer_block(X, block=block, mask=mask, nonlinearity=nonlinearity, eps=eps)
    return X


@formula("token-head", title="Auto-regressive head")
def token_head(x: Real[Array, "D"], *, G: Real[Array, "N_V D"]) -> Real[Array, "N_V"]:
    """The distribution of the next word, from the last block's token n - 1 under the auto-regressive mask.

        p(w_n = w | w_1, ..., w_{n-1}) = exp(g_w^T x_{n-1}) / sum_v exp(g_v^T x_{n-1})
    """
    return softmax(np.array([G[w] @ x for w in range(len(G))]))


@formula("class-token-head", title="Class-token head")
def class_token_head(X: Real[Array, "D N"], *, G: Real[Array, "C D"]) -> Real[Array, "C"]:
    """The distribution of the class of a sequence, from its class token after the last block.

        p(c) = exp(g_c^T x_0) / sum_k exp(g_k^T x_0)
    """
    return softmax(np.array([G[c] @ X[:, 0] for c in range(len(G))]))


@formula("pooling-head", title="Pooling head")
def pooling_head(X: Real[Array, "D N"], *, G: Real[Array, "C D"]) -> Real[Array, "C"]:
    """The distribution of the class of a sequence, from the average of its tokens after the last block.

        p(c) = exp(g_c^T x̄) / sum_k exp(g_k^T x̄)      with  x̄ = 1/N sum_n x_n
    """
    N = X.shape[1]
    pooled = sum(X[:, n] for n in range(N)) / N
    return softmax(np.array([G[c] @ pooled for c in range(len(G))]))


@formula("empty-cache", title="Nothing seen yet")
def empty_caches(blocks: Blocks) -> LongerCaches:
    """The caches before the first token: no key and no value in any head of any block."""
    return tuple(
        tuple(HeadCache(keys=np.zeros((len(head.U_k), 0)), values=np.zeros((len(head.V_in), 0))) for head in block.heads)
        for block in blocks
    )


@formula("incremental-attention", title="Incremental attention of one head")
def incremental_head(
    x: Real[Array, "D"], *, head: Head, cache: HeadCache
) -> tuple[Real[Array, "D"], Annotated[HeadCache, {"N": "_"}]]:
    """Under the auto-regressive mask token n needs of its predecessors only their keys and values, which never change.

        k_n = U_k x_n,  v_n = V_in x_n                                  (kept)
        a_n' = exp(k_n'^T U_q x_n / sqrt K) / sum_{n'' <= n} exp(k_n''^T U_q x_n / sqrt K)
        y_n = V_out sum_{n' <= n} a_n' v_n'
    """
    keys = np.concatenate([cache.keys, (head.U_k @ x)[:, None]], axis=1)
    values = np.concatenate([cache.values, (head.V_in @ x)[:, None]], axis=1)
    K, n = keys.shape
    q = head.U_q @ x
    a = softmax(np.array([keys[:, n_] @ q / np.sqrt(K) for n_ in range(n)]))
    y = head.V_out @ sum(a[n_] * values[:, n_] for n_ in range(n))
    return y, HeadCache(keys=keys, values=values)


@formula("incremental-transformer", title="Incremental Transformer")
def incremental_transformer(
    x: Real[Array, "D"],
    *,
    blocks: Blocks,
    caches: Caches,
    nonlinearity: Nonlinearity = gelu,
    eps: float = 0.0,
) -> tuple[Real[Array, "D"], LongerCaches]:
    """One more token through all blocks: column n of the Transformer under the auto-regressive mask, and the caches.

        y_n       = x_n + sum_h incremental-attention_h(LN(x_n))
        x_n^(new) = y_n + MLP(LN(y_n))                              in every block
    """
    later = []
    column = x[:, None]
    for block, cache in zip(blocks, caches, strict=True):
        normed = layer_norm(column, gamma=block.gamma_1, beta=block.beta_1, eps=eps)[:, 0]
        steps = [incremental_head(normed, head=head, cache=seen) for head, seen in zip(block.heads, cache, strict=True)]
        column = column + sum(y for y, _ in steps)[:, None]
        normed = layer_norm(column, gamma=block.gamma_2, beta=block.beta_2, eps=eps)
        column = column + mlp(normed, block=block, nonlinearity=nonlinearity)
        later.append(tuple(seen for _, seen in steps))
    return column[:, 0], tuple(later)
