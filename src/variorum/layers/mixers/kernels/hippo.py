"""The LegS measure of HiPPO as a state matrix, and that matrix as a diagonal less a rank of one. Gu et al. 2021.

A state that follows x' = A x + B u with these matrices holds the coefficients of all the input so far on Legendre
polynomials stretched over it (Gu et al. 2020, arXiv:2008.07669). A is neither normal nor well conditioned to
diagonalise, but A + P P^T is -1/2 I plus a skew matrix, which a unitary V diagonalises::

    A = V (Lambda - (V* P)(V* P)*) V*

Gu, Goel & Re 2021, arXiv:2111.00396, theorem 1 and appendix C.
"""

import torch
from torch import Tensor


def legs(size: int) -> tuple[Tensor, Tensor]:
    """A (size, size) and B (size,) in float64, from k to n.

    A_nk = -sqrt((2n + 1)(2k + 1)) for n > k, -(n + 1) for n = k, 0 for n < k; B_n = sqrt(2n + 1).
    """
    scale = (2 * torch.arange(size, dtype=torch.float64) + 1).sqrt()
    lower = -(scale[:, None] * scale).tril(-1)
    return lower - torch.diag(torch.arange(size, dtype=torch.float64) + 1), scale


def legs_low_rank(size: int) -> Tensor:
    """P (size,), P_n = sqrt(n + 1/2): A + P P^T is -1/2 I and a skew matrix."""
    return (torch.arange(size, dtype=torch.float64) + 0.5).sqrt()


def legs_diagonal(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(Lambda, V* P, V* B, V) of LegS, of every pair of conjugates the one above the real line; size is even.

    The first three are (size / 2,) and V is (size, size / 2), in complex128; the other half is their conjugate.
    """
    matrix, inputs = legs(size)
    low_rank = legs_low_rank(size)
    skew = matrix + torch.outer(low_rank, low_rank) + 0.5 * torch.eye(size, dtype=torch.float64)
    frequency, vectors = torch.linalg.eigh(skew * -1j)
    frequency, vectors = frequency[size // 2 :], vectors[:, size // 2 :]
    back = vectors.mH
    return (
        torch.complex(torch.full_like(frequency, -0.5), frequency),
        back @ (low_rank + 0j),
        back @ (inputs + 0j),
        vectors,
    )
