"""Algorithms 3, 4 and 5 of Phuong and Hutter 2022 (arXiv:2207.09238): attention of one query, one head, many heads."""

from typing import Annotated

import numpy as np

from variorum.explain.formal.formula import algorithm
from variorum.explain.formal.masks import require_sight
from variorum.explain.formal.nonlinearities import softmax
from variorum.explain.formal.parameters import Head, MultiHead
from variorum.explain.formal.shapes import Array, Bit, Real


@algorithm(3, title="Basic single-query attention")
def single_query_attention(
    e: Real[Array, "d_in"],
    *,
    context: Real[Array, "d_in T"],
    W_qkv: Annotated[Head, {"d_x": "d_in", "d_z": "d_in"}],
) -> Real[Array, "d_out"]:
    """What one token takes from the context tokens e_t = context[:, t].

        q   = W_q e + b_q
        k_t = W_k e_t + b_k                                                    for every t
        v_t = W_v e_t + b_v                                                    for every t
        α_t = exp(q^T k_t / sqrt(d_attn)) / sum_u exp(q^T k_u / sqrt(d_attn))  for every t
        ṽ   = sum_t α_t v_t

    q, k_t and v_t are the query, the keys and the values; the α_t are a distribution over the context.
    """
    d_attn, T = len(W_qkv.b_q), context.shape[1]
    q = W_qkv.W_q @ e + W_qkv.b_q
    k = [W_qkv.W_k @ context[:, t] + W_qkv.b_k for t in range(T)]
    v = [W_qkv.W_v @ context[:, t] + W_qkv.b_v for t in range(T)]
    alpha = softmax(np.array([q @ k[t] / np.sqrt(d_attn) for t in range(T)]))
    return sum((alpha[t] * v[t] for t in range(T)), start=np.zeros_like(v[0]))


@algorithm(4, title="Ṽ ← Attention(X, Z | W_qkv, Mask)")
def attention(
    X: Real[Array, "d_x l_x"],
    *,
    Z: Real[Array, "d_z l_z"],
    W_qkv: Head,
    mask: Bit[Array, "l_z l_x"],
) -> Real[Array, "d_out l_x"]:
    """One head: every token of X takes from the tokens of Z that its column of the mask shows. Z = X is self-attention.

        Q = W_q X + b_q 1^T                        in R^{d_attn × l_x}
        K = W_k Z + b_k 1^T                        in R^{d_attn × l_z}
        V = W_v Z + b_v 1^T                        in R^{d_out × l_z}
        S = K^T Q                                  in R^{l_z × l_x}
        S[t_z, t_x] = -∞  where not Mask[t_z, t_x]
        Ṽ = V softmax(S / sqrt(d_attn))

    A column of the mask that shows nothing raises :class:`~variorum.core.errors.VariorumError` (it would be 0/0).
    """
    require_sight(mask)
    d_attn = len(W_qkv.b_q)
    Q = W_qkv.W_q @ X + W_qkv.b_q[:, None]
    K = W_qkv.W_k @ Z + W_qkv.b_k[:, None]
    V = W_qkv.W_v @ Z + W_qkv.b_v[:, None]
    S = K.T @ Q / np.sqrt(d_attn)  # divided before the mask: the same, and -∞ cannot be divided in complex numbers
    S[~mask] = -np.inf
    return V @ softmax(S)


@algorithm(5, title="Ṽ ← MHAttention(X, Z | W, Mask)")
def mh_attention(
    X: Real[Array, "d_x l_x"],
    *,
    Z: Real[Array, "d_z l_z"],
    W: MultiHead,
    mask: Bit[Array, "l_z l_x"],
) -> Real[Array, "d_out l_x"]:
    """All heads side by side, joined by one matrix.

        Y^h = Attention(X, Z | W_qkv^h, Mask)      for every head h
        Y   = [Y^1; Y^2; ...; Y^H]
        Ṽ   = W_o Y + b_o 1^T

    The heads see the same X, Z and mask, each through parameters of its own.
    """
    Y = np.concatenate([attention(X, Z=Z, W_qkv=W_qkv, mask=mask) for W_qkv in W.W_qkv], axis=0)
    return W.W_o @ Y + W.b_o[:, None]
