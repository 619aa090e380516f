"""The chunk scan that linear-time mixers share: a matrix state carried from chunk to chunk."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.operands import full_precision
from variorum.layers.mixers.kernels.twice import gradient_through


def chunk_scan(
    q: Tensor,
    k: Tensor,
    u: Tensor,
    scores: Tensor,
    state: Tensor,
    *,
    w: Tensor | None = None,
    decay: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """For the chunks c = 0, 1, ... in turn, with S_0 = ``state``::

        V_c     = U_c - W_c S_c                 what is written (W: what the state already says about it; none: V = U)
        O_c     = Q_c S_c + A_c V_c             what is read (A: ``scores`` within the chunk)
        S_{c+1} = g_c * S_c + K_c^T V_c         (g: ``decay`` over the whole chunk; none: g = 1)

    Additive, decaying, gated and delta-rule recurrences all have this form; they differ in how U, W, A and g are made
    and in which decay is already multiplied into Q and K.

    q, k, w: (chunks, rows, chunk, d_k)    u: (chunks, rows, chunk, d_v)    scores: (chunks, rows, chunk, chunk)
    state: (rows, d_k, d_v)    decay: broadcastable to (chunks, rows, d_k, d_v)

    Returns (O, S after the last chunk). Time and memory are linear in the number of chunks, forward and backward; only
    two small products a chunk are sequential. Second derivatives are those of ``chunk_scan_naive``, at its speed.
    The chunkwise form is that of Hua et al. 2022, arXiv:2202.10447, and Yang et al. 2024, arXiv:2406.06484.
    """
    return _ChunkScan.apply(q, k, u, scores, state, w, decay)


def chunk_scan_naive(
    q: Tensor,
    k: Tensor,
    u: Tensor,
    scores: Tensor,
    state: Tensor,
    *,
    w: Tensor | None = None,
    decay: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``chunk_scan``, line by line as its equations stand."""
    full = u.new_ones(k.shape[0], 1, 1, 1) if decay is None else decay.expand(k.shape[0], *decay.shape[1:])
    outputs = []
    for c in range(k.shape[0]):
        written = u[c] if w is None else u[c] - w[c] @ state
        outputs.append(q[c] @ state + scores[c] @ written)
        state = full[c] * state + k[c].mT @ written
    return (torch.stack(outputs) if outputs else u.clone()), state


class _ChunkScan(torch.autograd.Function):
    """The adjoint is the same scan run backwards, with D_c = dLoss/dS_c in the place of S and k, w exchanged::

        dV_c = A_c^T dO_c + K_c D_{c+1}
        D_c  = g_c * D_{c+1} + Q_c^T dO_c - W_c^T dV_c

    Everything else is one product over all chunks at once. Buffers are written in place, which no tape of slices could
    do: the gradient of each slice would be a tensor as long as the row.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        u: Tensor,
        scores: Tensor,
        state: Tensor,
        w: Tensor | None,
        decay: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        chunks = k.shape[0]
        with full_precision(k.device):
            states = k.new_empty(chunks + 1, *state.shape)
            states[0] = state
            written = u if w is None else torch.empty_like(u)
            now, keys, values = states.unbind(0), k.mT.unbind(0), written.unbind(0)
            expected, fresh, carried = _each(w, chunks), u.unbind(0), _each(decay, chunks)
            for c in range(chunks):
                if expected is not None:
                    torch.baddbmm(fresh[c], expected[c], now[c], alpha=-1, out=values[c])
                kept = now[c] if carried is None else torch.mul(now[c], carried[c], out=now[c + 1])
                torch.baddbmm(kept, keys[c], values[c], out=now[c + 1])
            out = _bmm(scores, written)
            _add_bmm(out, q, states[:-1])
        ctx.save_for_backward(q, k, u, scores, state, w, decay, written, states)
        return out, states[-1].clone()

    @staticmethod
    def backward(ctx: Any, d_out: Tensor, d_state: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, written, states = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradient_through(_naive, inputs, (d_out, d_state))
        q, k, _, scores, _, w, decay = inputs
        chunks = k.shape[0]
        with full_precision(k.device):
            d_out = d_out.contiguous()
            d_written = _bmm(scores.mT, d_out)
            d_states = torch.empty_like(states)
            torch.bmm(q.mT.flatten(0, 1), d_out.flatten(0, 1), out=d_states[:-1].flatten(0, 1))
            d_states[-1] = d_state
            d_now, d_values, keys = d_states.unbind(0), d_written.unbind(0), k.unbind(0)
            expected, carried = _each(None if w is None else w.mT, chunks), _each(decay, chunks)
            for c in reversed(range(chunks)):
                torch.baddbmm(d_values[c], keys[c], d_now[c + 1], out=d_values[c])
                d_now[c].add_(d_now[c + 1] if carried is None else carried[c] * d_now[c + 1])
                if expected is not None:
                    torch.baddbmm(d_now[c], expected[c], d_values[c], alpha=-1, out=d_now[c])
            before, after = states[:-1], d_states[1:]
            d_q = _bmm(d_out, before.mT)
            d_k = _bmm(written, after.mT)
            d_scores = _bmm(d_out, written.mT)
            d_w = None if w is None else _bmm(d_written, before.mT).neg_()
            d_decay = None if decay is None else (before * after).sum_to_size(decay.shape)
        return d_q, d_k, d_written, d_scores, d_states[0], d_w, d_decay


def _naive(
    q: Tensor, k: Tensor, u: Tensor, scores: Tensor, state: Tensor, w: Tensor | None, decay: Tensor | None
) -> tuple[Tensor, Tensor]:
    return chunk_scan_naive(q, k, u, scores, state, w=w, decay=decay)


def _each(x: Tensor | None, chunks: int) -> Sequence[Tensor] | None:
    return None if x is None else x.expand(chunks, *x.shape[1:]).unbind(0)


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(a.flatten(0, 1), b.flatten(0, 1)).unflatten(0, a.shape[:2])


def _add_bmm(total: Tensor, a: Tensor, b: Tensor) -> None:
    """``total`` += a b. Written with ``out``, because torch's flop counter does not see the method baddbmm_."""
    flat = total.flatten(0, 1)
    torch.baddbmm(flat, a.flatten(0, 1), b.flatten(0, 1), out=flat)
