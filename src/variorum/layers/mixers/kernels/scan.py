"""The chunk scan that linear-time mixers share: a matrix state carried from chunk to chunk."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.operands import full_precision
from variorum.layers.mixers.kernels.products import add_bmm, bmm
from variorum.layers.mixers.kernels.twice import gradient_through


def chunk_scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scores: Tensor,
    state: Tensor,
    *,
    delta: tuple[Tensor, Tensor] | None = None,
    decay: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """For the chunks c = 0, 1, ... in turn, with S_0 = ``state``::

        W_c     = T_c (V_c - E_c S_c)           what is written; ``delta`` = (E, T), W = V without it
        O_c     = Q_c S_c + A_c W_c             what is read; A: ``scores`` within the chunk
        S_{c+1} = g_c * S_c + K_c^T W_c         g: ``decay`` over the whole chunk, 1 without it

    Additive, decaying, gated and delta-rule recurrences all have this form; they differ in how E, T, A and g are made
    and in which decay is already multiplied into Q, K and E.

    q, k, E: (chunks, rows, chunk, d_k)    v: (chunks, rows, chunk, d_v)    scores, T: (chunks, rows, chunk, chunk)
    state: (rows, d_k, d_v)    decay: broadcastable to (chunks, rows, d_k, d_v)

    Returns (O, S after the last chunk). Time and memory are linear in the number of chunks, forward and backward; only
    three small products a chunk are sequential. Second derivatives are those of ``chunk_scan_naive``, at its speed. The
    chunkwise form is that of Hua et al. 2022, arXiv:2202.10447, and Yang et al. 2024, arXiv:2406.06484.
    """
    return _ChunkScan.apply(q, k, v, scores, state, *(delta or (None, None)), decay)


def chunk_scan_naive(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scores: Tensor,
    state: Tensor,
    *,
    delta: tuple[Tensor, Tensor] | None = None,
    decay: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``chunk_scan``, line by line as its equations stand."""
    chunks = k.shape[0]
    kept = v.new_ones(chunks, 1, 1, 1) if decay is None else decay.expand(chunks, *decay.shape[1:])
    outputs = []
    for c in range(chunks):
        written = v[c] if delta is None else delta[1][c] @ (v[c] - delta[0][c] @ state)
        outputs.append(q[c] @ state + scores[c] @ written)
        state = kept[c] * state + k[c].mT @ written
    return (torch.stack(outputs) if outputs else v.clone()), state


def additive_states(k: Tensor, v: Tensor, state: Tensor, decays: Sequence[Tensor] | None) -> Tensor:
    """S_0 = ``state`` and the states after each chunk, (chunks + 1, rows, d_k, d_v), where nothing is erased.

    What is added, K_c^T V_c, does not hang on the state: it is one product for all chunks.
    """
    states = k.new_empty(len(k) + 1, *state.shape)
    states[0] = state
    torch.bmm(k.mT.flatten(0, 1), v.flatten(0, 1), out=states[1:].flatten(0, 1))
    for c in range(len(k)):
        if decays is None:
            states[c + 1].add_(states[c])
        else:
            states[c + 1].addcmul_(decays[c], states[c])
    return states


class _ChunkScan(torch.autograd.Function):
    """The adjoint is the same scan run backwards, with D_c = dLoss/dS_c in the place of S_c and R = V - E S::

        dW_c = A_c^T dO_c + K_c D_{c+1}
        dR_c = T_c^T dW_c
        D_c  = g_c * D_{c+1} + Q_c^T dO_c - E_c^T dR_c

    Everything else is one product over all chunks at once. Buffers are written in place, which no tape of slices could
    do: the gradient of each slice would be a tensor as long as the row.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scores: Tensor,
        state: Tensor,
        erase: Tensor | None,
        transform: Tensor | None,
        decay: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        chunks = k.shape[0]
        with full_precision(k.device):
            decays = _each(decay, chunks)
            if erase is None or transform is None:
                fresh = written = v
                states = additive_states(k, v, state, decays)
            else:
                states = k.new_empty(chunks + 1, *state.shape)
                states[0] = state
                fresh, written = torch.empty_like(v), torch.empty_like(v)
                steps = zip(k.mT.unbind(0), v.unbind(0), erase.unbind(0), transform.unbind(0), strict=True)
                for c, (keys, given, erases, transforms) in enumerate(steps):
                    # Not views of one ``unbind``: written to, those tie the compiler to the batch that it has seen.
                    before, after, values = states[c], states[c + 1], written[c]
                    torch.bmm(transforms, torch.baddbmm(given, erases, before, alpha=-1, out=fresh[c]), out=values)
                    kept = before if decays is None else torch.mul(before, decays[c], out=after)
                    torch.baddbmm(kept, keys, values, out=after)
            out = bmm(scores, written)
            add_bmm(out, q, states[:-1])
        ctx.save_for_backward(q, k, v, scores, state, erase, transform, decay, fresh, written, states)
        return out, states[-1].clone()

    @staticmethod
    def backward(ctx: Any, d_out: Tensor, d_state: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, fresh, written, states = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradient_through(_naive, inputs, (d_out, d_state))
        q, k, v, scores, _, erase, transform, decay = inputs
        chunks = k.shape[0]
        with full_precision(k.device):
            d_out = d_out.contiguous()
            d_written = bmm(scores.mT, d_out)
            d_fresh = d_written if erase is None else torch.empty_like(v)
            d_states = torch.empty_like(states)
            torch.bmm(q.mT.flatten(0, 1), d_out.flatten(0, 1), out=d_states[:-1].flatten(0, 1))
            d_states[-1] = d_state
            d_now, d_values, d_new, keys = d_states.unbind(0), d_written.unbind(0), d_fresh.unbind(0), k.unbind(0)
            erases, transforms, decays = _each_t(erase, chunks), _each_t(transform, chunks), _each(decay, chunks)
            for c in reversed(range(chunks)):
                torch.baddbmm(d_values[c], keys[c], d_now[c + 1], out=d_values[c])
                if decays is None:
                    d_now[c].add_(d_now[c + 1])
                else:
                    d_now[c].addcmul_(decays[c], d_now[c + 1])
                if erases is not None and transforms is not None:
                    torch.bmm(transforms[c], d_values[c], out=d_new[c])
                    torch.baddbmm(d_now[c], erases[c], d_new[c], alpha=-1, out=d_now[c])
            before, after = states[:-1], d_states[1:]
            d_q, d_k, d_scores = bmm(d_out, before.mT), bmm(written, after.mT), bmm(d_out, written.mT)
            d_erase = None if erase is None else bmm(d_fresh, before.mT).neg_()
            d_transform = None if transform is None else bmm(d_written, fresh.mT)
            d_decay = (
                None if decay is None or not ctx.needs_input_grad[-1] else (before * after).sum_to_size(decay.shape)
            )
        return d_q, d_k, d_fresh, d_scores, d_states[0], d_erase, d_transform, d_decay


def _naive(*inputs: Any) -> tuple[Tensor, Tensor]:
    *given, erase, transform, decay = inputs
    return chunk_scan_naive(*given, delta=None if erase is None else (erase, transform), decay=decay)


def _each(x: Tensor | None, chunks: int) -> Sequence[Tensor] | None:
    return None if x is None else x.expand(chunks, *x.shape[1:]).unbind(0)


def _each_t(x: Tensor | None, chunks: int) -> Sequence[Tensor] | None:
    return None if x is None else _each(x.mT, chunks)
