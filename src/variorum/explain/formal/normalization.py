"""Algorithm 6 of Phuong and Hutter 2022 (arXiv:2207.09238): layer normalisation."""

import numpy as np

from variorum.explain.formal.formula import algorithm
from variorum.explain.formal.shapes import Array, Real


@algorithm(6, title="ê ← layer_norm(e | γ, β)")
def layer_norm(
    e: Real[Array, "d_e"], *, gamma: Real[Array, "d_e"], beta: Real[Array, "d_e"], eps: float = 0.0
) -> Real[Array, "d_e"]:
    """Brings the entries of a vector to mean 0 and variance 1, then scales and shifts each.

        m = sum_i e[i] / d_e
        v = sum_i (e[i] - m)^2 / d_e
        ê = (e - m) / sqrt(v + eps) ⊙ γ + β

    The paper divides by sqrt(v); ``eps`` is what implementations add to it, 0 by default.
    """
    d_e = len(e)
    m = sum(e[i] for i in range(d_e)) / d_e
    v = sum((e[i] - m) ** 2 for i in range(d_e)) / d_e
    return (e - m) / np.sqrt(v + eps) * gamma + beta
