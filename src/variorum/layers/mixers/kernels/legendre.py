"""The Legendre delay: a linear system whose state is a window of its input. Voelker, Kajic & Eliasmith 2019.

A state that follows theta m' = A m + B u holds the last theta units of time of u on shifted Legendre polynomials::

    A_ij = (2i + 1) * (-1 if i < j else (-1)^(i - j + 1)),   B_i = (2i + 1) (-1)^i
    u(t - r theta) ~ sum_i P_i(2r - 1) m_i(t),   0 <= r <= 1

"Legendre memory units", NeurIPS 2019; in parallel Chilkuri & Eliasmith 2021, arXiv:2102.11417.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def legendre_delay(order: int, window: float) -> tuple[Tensor, Tensor]:
    """A / theta (order, order) and B / theta (order,), theta = ``window``, in float64."""
    i = torch.arange(order, dtype=torch.float64)
    sign = 1 - 2 * (i % 2)
    size = (2 * i + 1) / window
    below = -sign[:, None] * sign
    return size[:, None] * torch.where(i[:, None] < i, -torch.ones_like(below), below), size * sign


def zero_order_hold(matrix: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The same system in steps of one, its input constant in each: m_t = Abar m_{t-1} + Bbar u_t.

    [Abar, Bbar; 0, 1] is the exponential of [A, B; 0, 0].
    """
    order = len(inputs)
    whole = matrix.new_zeros(order + 1, order + 1)
    whole[:order, :order], whole[:order, order] = matrix, inputs
    held = torch.linalg.matrix_exp(whole)
    return held[:order, :order].clone(), held[:order, order].clone()


def powers(matrix: Tensor, vector: Tensor, count: int) -> Tensor:
    """v, A v, A^2 v, ...: A (order, order), v (..., order) -> (..., count, order), by doubling.

    What has faded to the root of the smallest normal number is zero: its products, denormal, would cost many times the
    time of others.
    """
    faded = torch.finfo(matrix.dtype).tiny ** 0.5
    found = vector.unsqueeze(-2)
    while found.shape[-2] < count:
        found = torch.cat([found, F.hardshrink(found @ matrix.mT, faded)], dim=-2)
        if found.shape[-2] < count:
            matrix = F.hardshrink(matrix @ matrix, faded)
    return found[..., :count, :]


def legendre_window(order: int, places: Tensor) -> Tensor:
    """P_i(2r - 1) of places r in 0 ... 1, (places, order): what reads u(t - r theta) off the state."""
    x = 2 * places - 1
    found = [torch.ones_like(x), x]
    for i in range(1, order - 1):
        found.append(((2 * i + 1) * x * found[i] - i * found[i - 1]) / (i + 1))
    return torch.stack(found[:order], dim=-1)
