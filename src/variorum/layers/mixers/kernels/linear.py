"""Additive linear attention over a row of tokens: token by token, all at once, and chunk by chunk.

For each row and head, with q_t, k_t of width d_k, v_t of width d_v and a state S (d_k, d_v)::

    S_t = S_{t-1} + k_t v_t^T
    o_t = S_t^T q_t

Katharopoulos et al. 2020, arXiv:2006.16236, without feature map and denominator: both belong to the caller. (A column
of ones appended to v makes the denominator q_t . sum_{i <= t} k_i the last column of o.)

Shapes, the same for all functions: q, k (batch, n, heads, d_k); v (batch, n, heads, d_v); state (batch, heads, d_k,
d_v), zeros if None. They return o (batch, n, heads, d_v) in v's dtype and the state after the last token in at least
float32, whatever autocast says.
"""

from torch import Tensor

from variorum.layers.mixers.kernels.operands import full_precision, operands
from variorum.layers.mixers.kernels.rows import by_chunks, by_tokens
from variorum.layers.mixers.kernels.scan import chunk_scan


def linear_step(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token: q, k (batch, heads, d_k); v (batch, heads, d_v). Returns (o_t, S_t)."""
    query = q.to(state.dtype).unsqueeze(-2)
    with full_precision(q.device):
        state = state + k.unsqueeze(-1) * v.unsqueeze(-2)
        return (query @ state).squeeze(-2).to(v.dtype), state


def linear_recurrent(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The definition, a token at a time."""
    return by_tokens(linear_step, q, k, v, state=state)


def linear_parallel(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All tokens at once, quadratic: O = Q S_0 + tril(Q K^T) V, S_n = S_0 + K^T V."""
    *rows, start = operands(q, k, v, state=state)
    with full_precision(q.device):
        queries, keys, values = (x.transpose(1, 2) for x in rows)
        o = queries @ start + (queries @ keys.mT).tril() @ values
        return o.transpose(1, 2).to(v.dtype), start + keys.mT @ values


def linear_chunked(
    q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None, *, chunk: int = 32
) -> tuple[Tensor, Tensor]:
    """Chunk by chunk: parallel within ``chunk`` tokens, recurrent between chunks. Linear in n."""
    return by_chunks(_chunks, linear_step, q, k, v, state=state, chunk=chunk)


def _chunks(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return chunk_scan(q, k, v, (q @ k.mT).tril_(), state)
