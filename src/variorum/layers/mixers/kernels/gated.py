"""Linear attention that forgets, a rate for each channel of the keys: token by token, all at once, chunk by chunk.

For each row and head, with q_t, k_t and log decays g_t <= 0 of width d_k, v_t of width d_v and a state S (d_k, d_v)::

    S_t = diag(exp g_t) S_{t-1} + k_t v_t^T
    o_t = S_t^T q_t

Yang et al. 2023, arXiv:2312.06635. Queries are not scaled here. Log decays are finite numbers; however strong they are,
no exponential of a positive number is ever taken, so that nothing overflows and no chunk is too long.

Shapes, the same for all functions: q, k, decay (batch, n, heads, d_k); v (batch, n, heads, d_v); state (batch, heads,
d_k, d_v), zeros if None. They return o (batch, n, heads, d_v) in v's dtype and the state after the last token in at
least float32, whatever autocast says.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.layers.mixers.kernels.operands import full_precision, operands
from variorum.layers.mixers.kernels.rows import by_chunks, by_tokens
from variorum.layers.mixers.kernels.scan import chunk_scan


def gated_step(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token: q, k, decay (batch, heads, d_k); v (batch, heads, d_v). Returns (o_t, S_t)."""
    query = q.to(state.dtype).unsqueeze(-2)
    with full_precision(q.device):
        state = decay.exp().unsqueeze(-1) * state + k.unsqueeze(-1) * v.unsqueeze(-2)
        return (query @ state).squeeze(-2).to(v.dtype), state


def gated_recurrent(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition, a token at a time."""
    return by_tokens(gated_step, q, k, v, decay=decay, state=state)


def gated_parallel(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All tokens at once, with G_t the sum of g up to t and a memory of n * n * d_k::

    A_ti = sum_c q_tc k_ic exp(G_tc - G_ic), i <= t
    O = (Q * exp G) S_0 + A V        S_n = diag(exp G_n) S_0 + (K * exp(G_n - G))^T V
    """
    *rows, start = operands(q, k, v, decay=decay, state=state)
    with full_precision(q.device):
        queries, keys, values, decays = (x.transpose(1, 2) for x in rows)
        total = decays.cumsum(-2)
        later = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).triu(1).unsqueeze(-1)
        between = (total.unsqueeze(-2) - total.unsqueeze(-3)).masked_fill(later, -torch.inf).exp()
        scores = torch.einsum("...td,...id,...tid->...ti", queries, keys, between)
        o = (queries * total.exp()) @ start + scores @ values
        left = decays.sum(-2, keepdim=True)
        state = left.exp().mT * start + (keys * (left - total).exp()).mT @ values
        return o.transpose(1, 2).to(v.dtype), state


def gated_chunked(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None = None, *, chunk: int = 32
) -> tuple[Tensor, Tensor]:
    """Chunk by chunk: parallel within ``chunk`` tokens, recurrent between chunks. Linear in n."""
    return by_chunks(_chunks, gated_step, q, k, v, decay=decay, state=state, chunk=chunk)


def _chunks(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    total = decay.cumsum(-2)
    whole = total[..., -1:, :]
    scores = _scores(q, k, decay)
    return chunk_scan(q * total.exp(), k * (whole - total).exp(), v, scores, state, decay=whole.exp().mT)


def _scores(q: Tensor, k: Tensor, decay: Tensor) -> Tensor:
    """A_ti = sum_c q_tc k_ic exp(G_tc - G_ic) for i <= t, else 0: (..., c, d_k) each -> (..., c, c).

    Built up from single tokens, two neighbouring blocks at a time: what the later one reads of the earlier one is the
    product of Q exp(G - M) and K exp(M - G), M being G where the earlier one ends: neither exponent is positive.
    """
    c = q.shape[-2]
    padding = (0, 0, 0, (1 << (c - 1).bit_length()) - c)
    q, k, total = F.pad(q, padding), F.pad(k, padding), F.pad(decay, padding).cumsum(-2)
    scores = (q * k).sum(-1)[..., None, None]
    while (size := scores.shape[-1]) < q.shape[-2]:
        pairs = (q.shape[-2] // (2 * size), 2)
        _, queries = q.unflatten(-2, (*pairs, size)).unbind(-3)
        keys, _ = k.unflatten(-2, (*pairs, size)).unbind(-3)
        before, after = total.unflatten(-2, (*pairs, size)).unbind(-3)
        middle = before[..., -1:, :]
        across = (queries * (after - middle).exp()) @ (keys * (middle - before).exp()).mT
        first, second = scores.unflatten(-3, pairs).unbind(-3)
        upper = torch.cat([first, torch.zeros_like(first)], dim=-1)
        scores = torch.cat([upper, torch.cat([across, second], dim=-1)], dim=-2)
    return scores.squeeze(-3)[..., :c, :c]
