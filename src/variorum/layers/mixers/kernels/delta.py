"""The delta rule over a row of tokens: token by token, all at once, and chunk by chunk.

For each row and head, with q_t, k_t of width d_k, v_t of width d_v, a rate b_t and a state S (d_k, d_v)::

    S_t = S_{t-1} + b_t k_t (v_t - S_{t-1}^T k_t)^T = (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T
    o_t = S_t^T q_t

The state is a table of associations: k_t is asked for, and what comes back is moved towards v_t. Yang et al. 2024,
arXiv:2406.06484 (parallel over the length); Schlag et al. 2021, arXiv:2102.11174 (the rule in a Transformer).
Queries are not scaled and keys not normalised here; the recurrence is bounded where b_t |k_t|^2 <= 2.

Shapes, the same for all functions: q, k (batch, n, heads, d_k); v (batch, n, heads, d_v); beta (batch, n, heads);
state (batch, heads, d_k, d_v), zeros if None. They return o (batch, n, heads, d_v) in v's dtype and the state after the
last token in at least float32, whatever autocast says.
"""

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.operands import full_precision, operands
from variorum.layers.mixers.kernels.rows import by_chunks, by_tokens
from variorum.layers.mixers.kernels.scan import chunk_scan
from variorum.layers.mixers.kernels.triangular import unit_lower_inverse


def delta_step(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token: q, k (batch, heads, d_k); v (batch, heads, d_v); beta (batch, heads). Returns (o_t, S_t)."""
    key, query = k.to(state.dtype).unsqueeze(-2), q.to(state.dtype).unsqueeze(-2)
    with full_precision(q.device):
        written = beta[..., None, None] * (v.unsqueeze(-2) - key @ state)
        state = state + key.mT * written
        return (query @ state).squeeze(-2).to(v.dtype), state


def delta_recurrent(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition, a token at a time."""
    return by_tokens(delta_step, q, k, v, beta, state=state)


def delta_parallel(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All tokens at once, in quadratic time and memory::

        T  = (I + tril(diag(b) K K^T, -1))^-1 diag(b)
        V' = T (V - K S_0)
        O  = Q S_0 + tril(Q K^T) V'
        S_n = S_0 + K^T V'

    V' is what each token writes: the part of v_t that the state and the tokens before it do not already give.
    """
    *rows, state = operands(q, k, v, beta, state=state)
    with full_precision(q.device):
        queries, keys, values, rates = (x.transpose(1, 2) for x in rows)
        rates = rates.unsqueeze(-1)
        surprise = rates * (values - keys @ state)
        written = torch.linalg.solve_triangular((rates * keys) @ keys.mT, surprise, upper=False, unitriangular=True)
        o = queries @ state + (queries @ keys.mT).tril() @ written
        return o.transpose(1, 2).to(v.dtype), state + keys.mT @ written


def delta_chunked(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None, *, chunk: int = 32
) -> tuple[Tensor, Tensor]:
    """Chunk by chunk: parallel within ``chunk`` tokens, recurrent between chunks.

    Linear in n, forward and backward, in time and in memory. Any n will do: a last chunk is filled up with keys and
    rates of zero, which leave the state as it is. On a CPU 32 is the fastest chunk up to a width of 64, and 64 above.
    """
    return by_chunks(_chunks, delta_step, q, k, v, beta, state=state, chunk=chunk)


def _chunks(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """In each chunk V' = T (V - K S) with T as in ``delta_parallel``: it needs no S and is there before the scan."""
    transform = unit_lower_inverse(k @ k.mT * beta.unsqueeze(-1)) * beta.unsqueeze(-2)
    return chunk_scan(q, k, v, (q @ k.mT).tril_(), state, delta=(k, transform))
