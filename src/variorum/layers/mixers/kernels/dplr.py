"""State spaces whose matrix is a diagonal less a rank of one: their kernel at once, and their step. Gu et al. 2021.

Of H independent systems x' = A x + B u, y = C x with A = Lambda - P P*, discretised by the bilinear rule with a step
Delta each, these functions compute::

    s_t = Abar s_{t-1} + Bbar u_t,   y_t = C s_t,   K_l = C Abar^l Bbar

    Abar = (I - Delta/2 A)^-1 (I + Delta/2 A),   Bbar = (I - Delta/2 A)^-1 Delta B

without a matrix: (I - Delta/2 A) is a diagonal and a rank of one, which Woodbury's identity inverts. Gu, Goel & Re
2021, arXiv:2111.00396.

The systems are real: their states are pairs of conjugates, of which one is kept. Shapes: Lambda, P, B and C are complex
(H, M) for 2 M states, Delta is real (H,); a sum over all states is twice the real part of one over the kept half.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from variorum.layers.mixers.kernels.twice import gradient_through

_RESIDENT = 2**20
"""Numbers of Cauchy's kernel that are made at once, 8 MiB in single precision."""


class StateSpaces(NamedTuple):
    """H systems: ``step`` (H,) real; ``poles``, ``low_rank`` and ``inputs``, Lambda, P and B, complex (H, M)."""

    step: Tensor
    poles: Tensor
    low_rank: Tensor
    inputs: Tensor


def dplr_kernel(systems: StateSpaces, truncated: Tensor, length: int) -> Tensor:
    """K_0 ... K_{length-1}, (H, length), of ``truncated`` = C (I - Abar^length), complex (H, M).

    The generating function sum_l K_l z^l, cut at ``length``, is at the roots of unity z = exp(-2 pi i k / length)::

        2 / (1 + z) [C~ R B - C~ R P (1 + P* R P)^-1 P* R B],   R = ((2 / Delta) (1 - z) / (1 + z) - Lambda)^-1

    four sums of Cauchy's kernel, and an inverse Fourier transform gives K. All is multiplied out by 1 + z here, so that
    z = -1 is a root like any other.
    """
    step, poles, low_rank, inputs = systems
    angle = torch.arange(length // 2 + 1, device=step.device, dtype=step.dtype) * (-2 * math.pi / length)
    z = torch.polar(torch.ones_like(angle), angle)
    left = low_rank.conj()
    weights = torch.stack([truncated * inputs, truncated * low_rank, left * inputs, left * low_rank], dim=1)
    sums = _Cauchy.apply(weights, poles, 2 / step, z)
    read, out, into, loop = sums.unbind(dim=1)
    spectrum = 2 * (read - (1 + z) * out * into / (1 + (1 + z) * loop))
    return torch.fft.irfft(spectrum, n=length)


def _cauchy(weights: Tensor, poles: Tensor, rate: Tensor, z: Tensor) -> Tensor:
    """(H, 4, M), (H, M), real (H,), (roots,) -> sum over all states of w / (rate (1 - z) - (1 + z) pole)."""
    kept, mirrored = _kernel(poles, rate, z), _kernel(poles.conj(), rate, z)
    return weights @ kept + weights.conj() @ mirrored


def _kernel(poles: Tensor, rate: Tensor, z: Tensor) -> Tensor:
    """Cauchy's kernel, (H, M, roots)."""
    return (rate[:, None, None] * (1 - z) - (1 + z) * poles.unsqueeze(-1)).reciprocal()


class _Cauchy(torch.autograd.Function):
    """``_cauchy``, whose kernel has H M numbers for each root: it is made for some roots after the others, and again in
    the backward pass, so that training keeps none of it. With R the kernel of the poles and R' of their conjugates,
    a = 1 - z, c = 1 + z, and G the gradient of the sums::

        dw = G R* + conj(G R'*),    dR = w* G,    dR' = w^T G
        dpole = sum (dR conj(c R^2) + conj(dR' conj(c R'^2))),    drate = -Re sum (dR conj(a R^2) + dR' conj(a R'^2))
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, poles: Tensor, rate: Tensor, z: Tensor) -> Tensor:
        ctx.save_for_backward(weights, poles, rate, z)
        sums = weights.new_empty(*weights.shape[:2], len(z))
        for here in _some(poles, z):
            sums[..., here] = _cauchy(weights, poles, rate, z[here])
        return sums

    @staticmethod
    def backward(ctx: Any, d_sums: Tensor) -> tuple[Tensor | None, ...]:
        weights, poles, rate, z = ctx.saved_tensors
        if torch.is_grad_enabled():

            def twin(weights: Tensor, poles: Tensor, rate: Tensor) -> tuple[Tensor]:
                return (_cauchy(weights, poles, rate, z),)

            return *gradient_through(twin, (weights, poles, rate), (d_sums,)), None
        d_weights, d_poles, d_rate = (torch.zeros_like(t) for t in (weights, poles, rate))
        for here in _some(poles, z):
            root, part = z[here], d_sums[..., here]
            kept, mirrored = _kernel(poles, rate, root), _kernel(poles.conj(), rate, root)
            d_weights += part @ kept.mH + (part @ mirrored.mH).conj()
            moved = (weights.mH @ part) * kept.square_().conj()
            reflected = (weights.mT @ part) * mirrored.square_().conj()
            d_poles += moved @ (1 + root).conj() + (reflected @ (1 + root).conj()).conj()
            d_rate -= ((moved + reflected) @ (1 - root).conj()).real.sum(dim=-1)
        return d_weights, d_poles, d_rate, None


def _some(poles: Tensor, z: Tensor) -> Iterator[slice]:
    """Roots whose kernel is made at once."""
    size = max(1, _RESIDENT // max(1, poles.numel()))
    return (slice(first, first + size) for first in range(0, len(z), size))


def dplr_step(systems: StateSpaces, u: Tensor, state: Tensor) -> Tensor:
    """s_t of u_t (*, H) and s_{t-1}, complex (*, H, M), in O(M)."""
    step, poles, low_rank, inputs = systems
    rate = 2 / step.unsqueeze(-1)
    resolvent = 1 / (rate - poles)
    forced = (rate + poles) * state - low_rank * _through(low_rank, state) + 2 * inputs * u.unsqueeze(-1)
    moved = resolvent * forced
    loop = 1 + _through(low_rank, resolvent * low_rank)
    return moved - resolvent * low_rank * (_through(low_rank, moved) / loop)


def dplr_read(output: Tensor, state: Tensor) -> Tensor:
    """C s, (*, H), of C and s, complex (*, H, M)."""
    return 2 * (output * state).sum(dim=-1).real


def dplr_matrix(systems: StateSpaces) -> Tensor:
    """Abar as a real matrix (H, 2 M, 2 M) on [real parts, imaginary parts]: the step of every unit vector."""
    poles = systems.poles
    units = torch.eye(poles.shape[1], dtype=poles.real.dtype, device=poles.device)
    units = torch.cat([units + 0j, units * 1j])[:, None].expand(-1, poles.shape[0], -1)
    moved = dplr_step(systems, units.real.new_zeros(units.shape[:2]), units)
    return torch.cat([moved.real, moved.imag], dim=-1).permute(1, 2, 0)


def truncate(systems: StateSpaces, output: Tensor, length: int) -> Tensor:
    """C (I - Abar^length), complex (H, M), of C; in float64, dense."""
    row, power = _row(output), _power(systems, length)
    return _output(row - row @ power, output.dtype)


def untruncate(systems: StateSpaces, truncated: Tensor, length: int) -> Tensor:
    """C of C (I - Abar^length), complex (H, M); in float64, dense."""
    power = _power(systems, length)
    rest = torch.eye(power.shape[-1], dtype=power.dtype, device=power.device) - power
    return _output(torch.linalg.solve(rest, _row(truncated), left=False), truncated.dtype)


def lengthen(systems: StateSpaces, truncated: Tensor, length: int, wanted: int) -> tuple[Tensor, int]:
    """C (I - Abar^m) of C (I - Abar^length), and m: ``length`` doubled until it is at least ``wanted``."""
    if wanted <= length:
        return truncated, length
    row, power = _row(truncated), _power(systems, length)
    while length < wanted:
        row, power, length = row + row @ power, power @ power, 2 * length
    return _output(row, truncated.dtype), length


def _through(left: Tensor, right: Tensor) -> Tensor:
    """left* right over all states, (*, H, 1) real."""
    return 2 * (left.conj() * right).sum(dim=-1, keepdim=True).real


def _power(systems: StateSpaces, length: int) -> Tensor:
    return torch.linalg.matrix_power(dplr_matrix(systems).double(), length)


def _row(output: Tensor) -> Tensor:
    """C as a real row (H, 1, 2 M) on [real parts, imaginary parts], but for the factor 2."""
    return torch.cat([output.real, -output.imag], dim=-1).unsqueeze(1).double()


def _output(row: Tensor, dtype: torch.dtype) -> Tensor:
    real, imaginary = row.squeeze(1).chunk(2, dim=-1)
    return torch.complex(real, -imaginary).to(dtype)
