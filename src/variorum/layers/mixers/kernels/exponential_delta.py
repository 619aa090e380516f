"""The Omega rule with the exponential kernel: a Transformer that corrects what it has said before it adds to it.

For each row and head, with features f of infinite length whose products are E(k, q) = exp(s (k . q - 1)), a memory M
that is linear in them, and window gates g::

    M_t = M_{t-1} + sum_{j < c} g_{t-j,j} (v_{t-j} - M_{t-1} f(k_{t-j})) f(k_{t-j})^T,    o_t = M_t f(q_t)

Behrouz et al. 2025, arXiv:2505.23735, equations 27 to 31 (Dot); with c = 1 it is the delta rule. M_t is the sum of
u_i f(k_i)^T over the tokens so far, each with what it has written, so that keys and u are kept as attention keeps keys
and values; a token writes for c steps, at each what the memory lacks of its value. With u_i = v_i it would be attention
without its denominator. Keys and queries have unit length, with which E(k, k) = 1 and the rule is bounded where the
gates of a step are 2 together at most; s, the sharpness, is one over a temperature.

Shapes: q, k, v (batch, n, heads, d); gates (batch, n, heads, c), how much each token writes in its own step and in
those of the next c - 1; sharpness (heads,).
"""

from functools import reduce

import torch
from torch import Tensor

from variorum.core import State
from variorum.layers.mixers.kernels.operands import full_precision

SOLVED, LEAST = 64, 8
"""Changes of the memory that are solved for together, c for each token; and the fewest tokens, whatever c."""


def exponential_delta_start(like: Tensor, *, batch: int, heads: int, dim: int, window: int) -> State:
    """Nothing written: the last c - 1 tokens, (batch, c - 1, heads, ...), with gates that are all 0."""
    blank, gates = (like.new_zeros(batch, window - 1, heads, width) for width in (dim, window))
    return State(keys=blank, values=blank, gates=gates, written=blank)


def exponential_delta_recurrent(
    q: Tensor, k: Tensor, v: Tensor, gates: Tensor, sharpness: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition, a token at a time: o (batch, n, heads, d), and what each token has written by then, likewise."""

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        near = torch.einsum("bihd,bmhd->bhim", one, other)
        return (sharpness[:, None, None] * (near - 1)).exp()

    written, outputs = v[:, :0], []
    for t in range(q.shape[1]):
        written = torch.cat([written, torch.zeros_like(v[:, :1])], dim=1)
        first, seen = max(0, t + 1 - gates.shape[-1]), slice(t + 1)
        window = slice(first, t + 1)
        known = torch.einsum("bhim,bmhd->bihd", kernel(k[:, window], k[:, seen]), written)
        gate = torch.stack([gates[:, i, :, t - i] for i in range(first, t + 1)], dim=1)
        change = gate[..., None] * (v[:, window] - known)
        written = torch.cat([written[:, :first], written[:, window] + change], dim=1)
        outputs.append(torch.einsum("bhim,bmhd->bihd", kernel(q[:, t : t + 1], k[:, seen]), written))
    return torch.cat(outputs, dim=1), written


def exponential_delta_parallel(
    q: Tensor, k: Tensor, v: Tensor, gates: Tensor, sharpness: Tensor, keys: Tensor, written: Tensor, recent: State,
    *, piece: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, State]:  # fmt: skip
    """Many tokens at once, in quadratic time: o, and the n tokens that leave the window with what they have written.

    keys, written: those that have left it before, (batch, m, heads, d), zeros written where there is none.
    recent: the last c - 1, as :func:`exponential_delta_start` begins. The answer ends with keys and written of those
    that leave, (batch, n, heads, d), and with the last c - 1 then.     piece: tokens that are solved for together.
    """
    given = (q, k, v, gates)
    dtype = reduce(torch.promote_types, (x.dtype for x in (*given, sharpness)), torch.float32)
    sharp = sharpness.to(dtype)[:, None, None]
    past, told = (x.to(dtype).transpose(1, 2) for x in (keys, written))
    last = recent.map(lambda x: x.to(dtype).transpose(1, 2))
    outputs, met = [], past.shape[2]
    size = piece or max(LEAST, SOLVED // gates.shape[-1])
    with full_precision(q.device):
        for some in zip(*(x.to(dtype).transpose(1, 2).split(size, dim=2) for x in given), strict=True):
            o, left, last = _piece(*some, sharp=sharp, past=past, told=told, recent=last)
            past, told = (torch.cat([old, new], dim=2) for old, new in zip((past, told), left, strict=True))
            outputs.append(o)
    found = (torch.cat(outputs, dim=2), past[:, :, met:], told[:, :, met:])
    o, gone, said = (x.transpose(1, 2).to(v.dtype) for x in found)
    return o, gone, said, last.map(lambda x: x.transpose(1, 2).to(v.dtype))


def _piece(
    q: Tensor, k: Tensor, v: Tensor, gates: Tensor, *, sharp: Tensor, past: Tensor, told: Tensor, recent: State
) -> tuple[Tensor, tuple[Tensor, Tensor], State]:
    """A piece of n tokens, heads before tokens: (I + A) D = diag(g) (V - E(K, before) U), D all changes of the memory.

    A change is made at a step with one of the c tokens up to it; A has g E between it and those of earlier steps.
    """
    n, c = q.shape[2], gates.shape[-1]
    news = {"keys": k, "values": v, "gates": gates, "written": torch.zeros_like(v)}
    at = {name: torch.cat([recent.tensor(name), new], dim=2) for name, new in news.items()}
    now = torch.arange(n, device=q.device)
    step, back = now.repeat_interleave(c), torch.arange(c, device=q.device).repeat(n)
    token = step + c - 1 - back

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (sharp * (one @ other.mT - 1)).exp()

    before, known = torch.cat([past, recent.tensor("keys")], dim=2), torch.cat([told, recent.tensor("written")], dim=2)
    gate = at["gates"][:, :, token, back].unsqueeze(-1)
    lacking = gate * (at["values"] - kernel(at["keys"], before) @ known)[:, :, token]
    among = kernel(at["keys"], at["keys"])[:, :, token][..., token]
    earlier = (step[:, None] > step).to(among.dtype)
    change = torch.linalg.solve_triangular(gate * among * earlier, lacking, upper=False, unitriangular=True)
    so_far = (now[:, None] >= step).to(among.dtype)
    o = kernel(q, before) @ known + (kernel(q, at["keys"])[..., token] * so_far) @ change
    at["written"] = at["written"].index_add(2, token, change)
    return o, (at["keys"][:, :, :n], at["written"][:, :, :n]), State({name: x[:, :, n:] for name, x in at.items()})
