"""Turner 2023, "An Introduction to Transformers" (arXiv:2304.10557): what comes before the body and what after it.

Positions and the class token are added to the tokens, X in R^(D x N); a head reads a distribution from X^(M).
"""

import numpy as np

from variorum.explain.formal.formula import formula
from variorum.explain.formal.nonlinearities import softmax
from variorum.explain.formal.shapes import Array, Real


@formula("position-embedding", title="Position embedding")
def with_positions(X: Real[Array, "D N"], *, P: Real[Array, "D N_max"]) -> Real[Array, "D N"]:
    """Without it the Transformer sees a set; a learned vector for every place makes it a sequence.

        x_n = x_n + p_n

    A sequence may be shorter than the N_max places that have a vector.
    """
    return np.stack([X[:, n] + P[:, n] for n in range(X.shape[1])], axis=1)


@formula("class-token", title="Class token")
def with_class_token(X: Real[Array, "D N"], *, x_0: Real[Array, "D"]) -> Real[Array, "D _"]:
    """A learned token that stands for the whole sequence, put before it: N + 1 tokens.

        X = [x_0, x_1, ..., x_N]

    A head reads it after the last block.
    """
    return np.stack([x_0, *(X[:, n] for n in range(X.shape[1]))], axis=1)


@formula("token-head", title="Auto-regressive head")
def token_head(x: Real[Array, "D"], *, G: Real[Array, "N_V D"]) -> Real[Array, "N_V"]:
    """The distribution of the next word, from the last block's token n - 1 under the auto-regressive mask.

        p(w_n = w | w_1, ..., w_{n-1}) = exp(g_w^T x_{n-1}) / sum_v exp(g_v^T x_{n-1})

    g_w is row w of G.
    """
    return softmax(np.array([G[w] @ x for w in range(len(G))]))


@formula("class-token-head", title="Class-token head")
def class_token_head(X: Real[Array, "D N"], *, G: Real[Array, "C D"]) -> Real[Array, "C"]:
    """The distribution of the class of a sequence, from its class token after the last block.

        p(c) = exp(g_c^T x_0) / sum_k exp(g_k^T x_0)

    g_c is row c of G.
    """
    return softmax(np.array([G[c] @ X[:, 0] for c in range(len(G))]))


@formula("pooling-head", title="Pooling head")
def pooling_head(X: Real[Array, "D N"], *, G: Real[Array, "C D"]) -> Real[Array, "C"]:
    """The distribution of the class of a sequence, from the average of its tokens after the last block.

        p(c) = exp(g_c^T x̄) / sum_k exp(g_k^T x̄)      with  x̄ = 1/N sum_n x_n

    g_c is row c of G.
    """
    N = X.shape[1]
    pooled = sum(X[:, n] for n in range(N)) / N
    return softmax(np.array([G[c] @ pooled for c in range(len(G))]))
