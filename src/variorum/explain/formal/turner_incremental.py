"""Turner 2023, "An Introduction to Transformers" (arXiv:2304.10557): incremental computation from a cache.

The parallel pass of :mod:`variorum.explain.formal.turner` sees all tokens at once; here they come one at a time.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from variorum.explain.formal.formula import formula
from variorum.explain.formal.nonlinearities import gelu, softmax
from variorum.explain.formal.shapes import Array, Real, Size
from variorum.explain.formal.turner import Blocks, Head, Nonlinearity, layer_norm, mlp


@dataclass(frozen=True)
class HeadCache:
    """What a head keeps of the tokens it has seen: keys k_n = U_k x_n and values v_n = V_in x_n, as columns."""

    keys: Real[Array, "K N"]
    values: Real[Array, "K N"]


Caches = Annotated[tuple[Annotated[tuple[HeadCache, ...], Size("H")], ...], Size("M")]
LongerCaches = Annotated[tuple[Annotated[tuple[Annotated[HeadCache, {"N": "_"}], ...], Size("H")], ...], Size("M")]


@formula("empty-cache", title="Nothing seen yet")
def empty_caches(blocks: Blocks) -> LongerCaches:
    """The caches before the first token: no key and no value in any head of any block."""
    return tuple(
        tuple(HeadCache(np.zeros((len(head.U_k), 0)), np.zeros((len(head.V_in), 0))) for head in block.heads)
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

    Gives back y_n and the cache with one more column.
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

    One call costs what is proportional to n; the parallel pass over the first n tokens costs n times as much.
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
