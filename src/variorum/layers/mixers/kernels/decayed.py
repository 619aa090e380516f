"""The chunk scan of recurrences that forget at one rate for a head, with its backward pass derived by hand."""

from typing import Any

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.decays import ByHead
from variorum.layers.mixers.kernels.operands import full_precision
from variorum.layers.mixers.kernels.products import add_bmm, bmm
from variorum.layers.mixers.kernels.scan import additive_states, chunk_scan_naive
from variorum.layers.mixers.kernels.twice import gradient_through


def decayed_scan(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """For the chunks in turn, with G_t the sum of a chunk's log decays up to its token t, and C its last token::

        A_ti    = (q_t . k_i) exp(G_t - G_i), i <= t
        O       = A V + (Q * exp G) S
        S_next  = exp(G_C) S + (K * exp(G_C - G))^T V

    q, k: (chunks, rows, chunk, d_k)    v: (chunks, rows, chunk, d_v)    decay: (chunks, rows, chunk)    state: (rows,
    d_k, d_v). Returns (O, S after the last chunk), in time and memory linear in the number of chunks, forward and
    backward; only one multiple of a state is added to the next in sequence.
    """
    return _DecayedScan.apply(q, k, v, decay, state)


class _DecayedScan(torch.autograd.Function):
    """With D = dLoss/dS after a chunk and L = exp(G_t - G_i), i <= t, the adjoint is::

        dP = (dO V^T) * L               dV = A^T dO + (K * exp(G_C - G)) D
        dQ = dP K + exp G * (dO S^T)    dK = dP^T Q + exp(G_C - G) * (V D^T)
        D_before = exp(G_C) D + (Q * exp G)^T dO

    All that q_t meets carries exp G_t, and all that k_i meets exp -G_i or, where it goes on to the next chunk, exp(G_C
    - G_i): so dG_t = q_t . dq_t - k_t . dk_t, and dG_C gets <S_next, D> besides (Yang et al. 2023, arXiv:2312.06635).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        left = ByHead(decay)
        with full_precision(k.device):
            scores = bmm(q, k.mT).mul_(left.between)
            queries, keys = q * left.since_start, k * left.to_end
            states = additive_states(keys, v, state, left.whole.unbind(0))
            out = bmm(scores, v)
            add_bmm(out, queries, states[:-1])
        factors = (left.between, left.since_start, left.to_end, left.whole)
        ctx.save_for_backward(q, k, v, decay, state, scores, queries, keys, states, *factors)
        return out, states[-1].clone()

    @staticmethod
    def backward(ctx: Any, d_out: Tensor, d_state: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, decay, state, scores, queries, keys, states, between, since_start, to_end, whole = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradient_through(_naive, (q, k, v, decay, state), (d_out, d_state))
        with full_precision(k.device):
            d_out = d_out.contiguous()
            d_states = torch.empty_like(states)
            d_states[-1] = d_state
            torch.bmm(queries.mT.flatten(0, 1), d_out.flatten(0, 1), out=d_states[:-1].flatten(0, 1))
            steps = list(zip(d_states[:-1].unbind(0), d_states[1:].unbind(0), whole, strict=True))
            for before, after, kept in reversed(steps):
                before.addcmul_(kept, after)
            coming = d_states[1:]
            d_products = bmm(d_out, v.mT).mul_(between)
            d_q = bmm(d_out, states[:-1].mT).mul_(since_start)
            d_k = bmm(v, coming.mT).mul_(to_end)
            d_v = bmm(scores.mT, d_out)
            add_bmm(d_q, d_products, k)
            add_bmm(d_k, d_products.mT, q)
            add_bmm(d_v, keys, coming)
            d_decay = None
            if ctx.needs_input_grad[3]:
                d_decay = _of_decay((q * d_q).addcmul_(k, d_k, value=-1).sum(-1), states[1:], coming)
        return d_q, d_k, d_v, d_decay, d_states[0]


def _of_decay(of_sums: Tensor, states: Tensor, d_states: Tensor) -> Tensor:
    """The gradient of the log decays, from that of their sums G but for what the next chunks have of them."""
    of_sums[..., -1] += torch.linalg.vecdot(states.flatten(-2), d_states.flatten(-2))
    return of_sums.flip(-1).cumsum(-1).flip(-1)


def _naive(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    left = ByHead(decay)
    return chunk_scan_naive(
        q * left.since_start, k * left.to_end, v, left.scores(q, k), state, decay=left.whole
    )  # fmt: skip
